package netfault

import "time"

// Kind is what is wrong with a link.
type Kind int

// The kinds.
const (
	// None forwards everything.
	None Kind = iota
	// Drop ends what is there and lets nothing in: a connection is closed as soon as it is made.
	Drop
	// Hole accepts and forwards nothing, in either direction.
	Hole
	// Deaf forwards answers only: nothing that the dialling side says arrives.
	Deaf
	// Mute forwards requests only: nothing that the listening side says arrives.
	Mute
	// Slow delays every piece by Delay and up to as much again by chance.
	Slow
	// Reset ends what is there, and what comes, with RST.
	Reset
	// Trickle forwards at most Rate bytes a second in each direction.
	Trickle
	// Cut ends each connection after Bytes in one direction.
	Cut
)

// String names the kind.
func (k Kind) String() string {
	return [...]string{"none", "drop", "hole", "deaf", "mute", "slow", "reset", "trickle", "cut"}[k]
}

// Fault is what is wrong with a link, and how much.
type Fault struct {
	Kind Kind
	// Delay of Slow.
	Delay time.Duration
	// Rate of Trickle in bytes a second, at least 1.
	Rate int
	// Bytes of Cut, counted anew for each connection from the moment the fault is set.
	Bytes int
}

// direction is from whom to whom.
type direction int

const (
	request direction = iota // from the side that dialled
	answer
)

// holds tells whether nothing passes in a direction.
func (f Fault) holds(d direction) bool {
	return f.Kind == Hole || f.Kind == Deaf && d == request || f.Kind == Mute && d == answer
}

// ends tells whether there are no connections at all.
func (f Fault) ends() bool { return f.Kind == Drop || f.Kind == Reset }
