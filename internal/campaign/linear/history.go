package linear

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// Kind is what was asked for.
type Kind int

// The kinds. The first four are about a route, the others about the runs of a service.
const (
	// Switch makes Provider the active one if the epoch is Epoch.
	Switch Kind = iota
	// Undo takes the last switch back if the epoch is Epoch.
	Undo
	// Queue switches queueing to On if the epoch is Epoch.
	Queue
	// Read says what the route is.
	Read
	// Start begins a run.
	Start
	// Pause asks a run to hold.
	Pause
	// Resume lets it go on.
	Resume
	// Cancel asks a run to end.
	Cancel
)

// String names the kind.
func (k Kind) String() string {
	return [...]string{"switch", "undo", "queue", "read", "start", "pause", "resume", "cancel"}[k]
}

// Op is a question with its answer, if there was one.
type Op struct {
	Kind     Kind
	Service  string
	Provider string // of Switch and Read
	Epoch    int64  // that was expected, or read
	On       bool   // of Queue and Read
	Run      string // of Start when it was answered, and of the others
	Unknown  bool   // nobody heard an answer
}

// String is the operation as people read it.
func (o Op) String() string {
	text := fmt.Sprintf("%v %s", o.Kind, o.Service)
	switch o.Kind {
	case Switch, Read:
		text += fmt.Sprintf(" %s epoch %d queueing %v", o.Provider, o.Epoch, o.On)
	case Undo, Queue:
		text += fmt.Sprintf(" epoch %d %v", o.Epoch, o.On)
	default:
		text += " " + o.Run
	}
	if o.Unknown {
		text += " ?"
	}
	return text
}

// staleness is how far back a read may look that calls itself live: after 5 s without a sign of life a replica stops to,
// and a second for the machine.
const staleness = 6 * time.Second

// History collects operations. Its methods are safe for concurrent use.
type History struct {
	began time.Time

	mu  sync.Mutex
	ops []porcupine.Operation
}

// NewHistory begins a history.
func NewHistory() *History { return &History{began: time.Now()} }

// Add notes an operation that was begun by a client at a time and has been answered just now, unless its answer is
// unknown.
func (h *History) Add(client int, begun time.Time, op Op) {
	call, ret := begun.Sub(h.began), time.Since(h.began)
	if op.Kind == Read {
		call -= staleness
	}
	end := int64(ret)
	if op.Unknown {
		end = math.MaxInt64
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: op, Call: int64(call), Output: op, Return: end})
}

// Count is how many operations were answered, by kind, and how many were not.
func (h *History) Count() (answered map[Kind]int, unknown int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	answered = map[Kind]int{}
	for _, o := range h.ops {
		if op, ok := o.Input.(Op); ok && !op.Unknown {
			answered[op.Kind]++
		} else {
			unknown++
		}
	}
	return answered, unknown
}
