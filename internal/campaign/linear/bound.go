package linear

import (
	"math"

	"github.com/anishathalye/porcupine"
)

// bound takes from the operations whose answer nobody heard what they can't have done: each may have happened until the
// moment at which somebody saw that it was too late for it, and what was asked for after that moment has done nothing.
// Without this every one of them would have to be tried at every place to the end of the history, which no checker
// finishes.
func bound(history []porcupine.Operation) []porcupine.Operation {
	out := make([]porcupine.Operation, 0, len(history))
	for _, o := range history {
		op, ok := o.Input.(Op)
		if !ok || !op.Unknown {
			out = append(out, o)
			continue
		}
		late := tooLate(history, op)
		if o.Call > late {
			continue
		}
		if late < math.MaxInt64 {
			// After that moment it changes nothing, so it may be placed there if it never happened.
			o.Return = late + 1
		}
		out = append(out, o)
	}
	return out
}

// tooLate is when an operation can't change anything any more: a change of a route once a later epoch was seen; a word to a
// run once another run, asked for after it had been started, holds its service.
func tooLate(history []porcupine.Operation, op Op) int64 {
	late, begun := int64(math.MaxInt64), int64(math.MaxInt64)
	for _, o := range history {
		if seen, ok := o.Input.(Op); ok && seen.Kind == Start && !seen.Unknown && seen.Run == op.Run {
			begun = min(begun, o.Return)
		}
	}
	for _, o := range history {
		seen, ok := o.Input.(Op)
		if !ok || seen.Unknown || seen.Service != op.Service {
			continue
		}
		switch {
		case op.Kind == Start:
		case op.Kind <= Queue && seen.Kind <= Read && seen.Epoch > op.Epoch,
			op.Kind > Start && seen.Kind == Start && seen.Run != op.Run && o.Call > begun:
			late = min(late, o.Return)
		}
	}
	return late
}
