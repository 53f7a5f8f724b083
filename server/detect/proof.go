package detect

import (
	"sync"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// maxProofs is how many good probes in a row are remembered: as many as a step may ask for.
const maxProofs = 100

// proofs remembers when the good probes in a row of each target were begun, so that a step can ask how many of them
// came after its switch. It is this replica's own sight: another replica that takes the step over counts anew.
type proofs struct {
	mu    sync.Mutex
	begun map[targetKey][]time.Time
}

// add takes a finding of a probe that was begun at a certain time. What could not be seen neither counts nor breaks
// the row.
func (p *proofs) add(key targetKey, begun time.Time, f finding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch f.state {
	case jv1.SignalState_SIGNAL_STATE_OK:
		if p.begun == nil {
			p.begun = map[targetKey][]time.Time{}
		}
		p.begun[key] = append(p.begun[key], begun)
		p.begun[key] = p.begun[key][max(0, len(p.begun[key])-maxProofs):]
	case jv1.SignalState_SIGNAL_STATE_FAILING:
		delete(p.begun, key)
	}
}

// forget drops a target that is gone.
func (p *proofs) forget(key targetKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.begun, key)
}

// after counts the good probes in a row that were begun after a time.
func (p *proofs) after(key targetKey, since time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, at := range p.begun[key] {
		if at.After(since) {
			n++
		}
	}
	return n
}

// Successes returns how many probes of the detector against the provider succeeded in a row on this replica, counted
// from those begun after since, at most 100. The service is that of the step which asks; a target is probed once for
// all its services.
func (d *Detect) Successes(detector, _, provider string, since time.Time) int {
	return d.prober.proofs.after(targetKey{detector, provider}, since)
}
