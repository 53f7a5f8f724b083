package linear

import (
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"
)

// Begin is the route of every service at the beginning.
type Begin struct {
	Active string
	Epoch  int64
}

// state of one service: of its route, or of its runs. The parts of a history never mix the two.
type state struct {
	epoch        int64
	active, back string
	queueing     bool
	run          string // that holds the service
	loose        looseness
}

// looseness is how firmly a run holds its service.
type looseness int

const (
	acts looseness = iota
	held           // a human asked to pause it: it may give way to the next start
	ends           // a human asked to end it: it may have ended
)

// model is the specification. Services are independent, and so are routes and runs.
func model(begin Begin) porcupine.Model {
	return porcupine.Model{
		Partition: partition,
		Init:      func() any { return state{epoch: begin.Epoch, active: begin.Active} },
		Step: func(s, input, _ any) (bool, any) {
			now, ok := s.(state)
			op, known := input.(Op)
			if !ok || !known {
				return false, s
			}
			next, legal := now.step(op)
			if !legal {
				// What nobody heard of may not have happened.
				return op.Unknown, now
			}
			return true, next
		},
		DescribeOperation: func(input, _ any) string { return fmt.Sprint(input) },
		DescribeState:     func(s any) string { return fmt.Sprintf("%+v", s) },
	}
}

// partition parts a history by services, and by routes and runs.
func partition(history []porcupine.Operation) [][]porcupine.Operation {
	parts := map[string]int{}
	var out [][]porcupine.Operation
	for _, o := range history {
		op, _ := o.Input.(Op)
		key := fmt.Sprintf("%s %v", op.Service, op.Kind <= Read)
		at, ok := parts[key]
		if !ok {
			at = len(out)
			parts[key] = at
			out = append(out, nil)
		}
		out[at] = append(out[at], o)
	}
	return out
}

// step is what an operation makes of a state; not legal: it can't have succeeded there.
func (s state) step(op Op) (next state, legal bool) {
	switch op.Kind {
	case Read:
		return s, op.Epoch == s.epoch && op.Provider == s.active && op.On == s.queueing
	case Switch, Undo, Queue:
		return s.change(op)
	case Start:
		if s.run != "" && s.loose == acts {
			return s, false
		}
		s.run, s.loose = op.Run, acts
		return s, true
	case Pause, Resume:
		if s.run != op.Run {
			return s, false
		}
		if s.loose != ends {
			s.loose = map[Kind]looseness{Pause: held, Resume: acts}[op.Kind]
		}
		return s, true
	case Cancel:
		if s.run == op.Run { // to cancel what has ended changes nothing
			s.loose = ends
		}
		return s, true
	}
	return s, false
}

// change is a change of the route that expects an epoch.
func (s state) change(op Op) (next state, legal bool) {
	if op.Epoch != s.epoch {
		return s, false
	}
	target := op.Provider
	switch op.Kind {
	case Queue:
		if s.queueing != op.On {
			s.queueing, s.epoch = op.On, s.epoch+1
		}
		return s, true
	case Undo:
		if s.back == "" || s.back == s.active {
			return s, false
		}
		target = s.back
	}
	if target != s.active {
		s.back, s.active, s.epoch = s.active, target, s.epoch+1
	}
	return s, true
}

// Verdict is what the checker says.
type Verdict struct {
	// Result is Ok, Illegal, or Unknown when the time was up.
	Result porcupine.CheckResult
	// Operations that were checked.
	Operations int

	model porcupine.Model
	info  porcupine.LinearizationInfo
}

// Check looks for an order that explains the history, for at most a time.
func (h *History) Check(begin Begin, most time.Duration) Verdict {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := model(begin)
	result, info := porcupine.CheckOperationsVerbose(m, bound(h.ops), most)
	return Verdict{Result: result, Operations: len(h.ops), model: m, info: info}
}

// Draw writes a picture of the history, as HTML.
func (v Verdict) Draw(path string) error {
	if err := porcupine.VisualizePath(v.model, v.info, path); err != nil {
		return fmt.Errorf("draw the history: %w", err)
	}
	return nil
}
