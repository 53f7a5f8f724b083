// Package linear records what clients asked of an installation and what they were told, and checks with porcupine that one
// order of all of it explains every answer: that routes change as if there were one server, and that a service has one run
// that acts.
//
// It promises that an answer which was never heard may have happened at any time after the question, or not at all; that a
// refusal says nothing, because a replica may refuse from a picture that is a little old; and that a read that calls itself
// live was true at some moment of the last few seconds. It never calls a history with too few successes sound: the caller
// counts them.
package linear
