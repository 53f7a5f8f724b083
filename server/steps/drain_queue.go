package steps

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/server/continuity"
)

const (
	// drainLook is how often a drain is looked at when nobody reports.
	drainLook = 10 * time.Second
	// Names of what a drain gives.
	outQueued, outParked, outRate, outETA  = "queued", "parked", "rate", "eta"
	outBehind, outSilent, outEpoch, outNow = "not_in_force", "silent", "epoch", "as_of"
	// noBasis is the estimate of a drain whose rate is not known.
	noBasis = "no basis yet"
)

// drainQueue asks those who keep a queue to send it, and waits until nobody has anything left. The drain stands in the
// state of the service for just as long as the step is under way: the engine takes it away however the step ends.
type drainQueue struct{ nothingToUndo }

func (k drainQueue) Advance(in *Input) Move {
	if r := in.checkAutomation(); r != nil {
		return in.fail("%v", r)
	}
	spec, w := in.Step.GetDrainQueue(), in.Desk
	if w.State() == nil {
		return in.fail("there is no service %s", w.Name())
	}
	rate := spec.GetStartRate()
	if rate == "" {
		rate = runbooks.DefaultStartRate
	}
	epoch, begun := int64(0), w.State().GetDrain().GetRun() == in.Run.GetName()
	if text := in.At.GetOutput()[outEpoch]; begun && text != "" {
		epoch, _ = strconv.ParseInt(text, 10, 64) // what this kind wrote
	}
	now := look(w, epoch)
	switch {
	case in.DryRun():
		return in.done("would drain %s", now)
	case now.reporters == 0:
		return k.end(in, now, "nobody reports a queue of %s: there is nothing to wait for", w.Name())
	case epoch == 0:
		w.StartDrain(rate, in.Run.GetName())
		m := in.sleep(w.Now.Add(drainLook), k.deadline(in), "drains from %s on: %s", rate, now)
		m.Event = in.event(jv1.RunEventKind_RUN_EVENT_KIND_STEP_WAITING, "drains from %s on: %s", rate, now)
		m.Event.Wake, m.Event.Deadline = m.Until, k.deadline(in)
		m.Event.Output = now.output(w.Now)
		m.Event.Output[outEpoch] = strconv.FormatInt(w.State().GetEpoch(), 10)
		return m
	case now.done():
		w.RestOn(now.rested)
		return k.end(in, now, "drained: %s", now)
	case reached(w.Now, k.deadline(in)):
		m := in.fail("not drained in time: %s", now)
		m.Event.Output = now.output(w.Now)
		w.EndDrain(in.Run.GetName())
		return m
	}
	m := Move{Then: Sleep, Until: earliest(k.deadline(in), now.next(w.Now))}
	if k.worthWriting(in, now) {
		m.Event = in.event(jv1.RunEventKind_RUN_EVENT_KIND_CONDITION_CHANGED, "%s", now)
		m.Event.Output = now.output(w.Now)
	}
	return m
}

// end takes the drain away and ends the step well.
func (drainQueue) end(in *Input, now progress, format string, args ...any) Move {
	in.Desk.EndDrain(in.Run.GetName())
	m := in.done(format, args...)
	m.Event.Output = now.output(in.Desk.Now)
	m.Event.Output[outETA] = "" // it is over
	return m
}

// deadline is when the drain fails: by its own timeout, else the step's, else 2 h.
func (drainQueue) deadline(in *Input) time.Time {
	if d := in.Step.GetDrainQueue().GetTimeout(); d != nil && in.At.GetDeadline() == nil {
		return in.started().Add(d.AsDuration())
	}
	return in.deadline(runbooks.DefaultDrain)
}

// worthWriting keeps the journal of a long drain small: progress is written when what is left has halved, or after
// 10 s, later a thirtieth of the time that it takes already.
func (drainQueue) worthWriting(in *Input, now progress) bool {
	out := in.At.GetOutput()
	written, err := time.Parse(time.RFC3339Nano, out[outNow])
	left, errLeft := strconv.ParseInt(out[outQueued], 10, 64)
	if err != nil || errLeft != nil || now.left <= left/2 && now.left < left {
		return true
	}
	pause := max(drainLook, in.Desk.Now.Sub(in.started())/30)
	return in.Desk.Now.Sub(written) >= pause && now.differs(out)
}

// progress is how far a drain is, as those who keep queues report.
type progress struct {
	reporters    int
	left, parked int64
	rate         float64
	behind       []string // reports are valid, but the drain is not in force there
	silent       []string // reports have lapsed with something left
	lapse        time.Time
	rested       []continuity.Reporter
}

// look sums up what is reported about the service's queues. epoch is that of the drain; 0: there is none yet.
func look(w *continuity.Workspace, epoch int64) progress {
	var p progress
	for _, r := range w.Reporters(epoch) {
		left := r.Queue.GetQueued() + r.Queue.GetSending()
		if !w.Now.Before(r.ValidUntil) {
			if left > 0 {
				p.silent = append(p.silent, fmt.Sprintf("%s (%d)", r.Name, left))
			}
			continue
		}
		p.reporters++
		p.left += left
		p.parked += r.Queue.GetParked()
		p.rate += r.Queue.GetRate()
		p.rested = append(p.rested, r)
		p.lapse = earliest(p.lapse, r.ValidUntil)
		if !r.InForce {
			p.behind = append(p.behind, r.Name)
		}
	}
	return p
}

// done tells whether everybody who keeps a queue has the drain in force and nothing left. What is parked waits for a
// human and holds nothing.
func (p progress) done() bool { return p.left == 0 && len(p.behind) == 0 }

// next is when to look again although nobody reports.
func (p progress) next(now time.Time) time.Time {
	at := now.Add(drainLook)
	if p.lapse.After(now) {
		at = earliest(at, p.lapse)
	}
	return at
}

// eta is how long it takes at the present rate.
func (p progress) eta() string {
	if p.left == 0 {
		return "0s"
	}
	if p.rate <= 0 {
		return noBasis
	}
	seconds := math.Ceil(float64(p.left) / p.rate)
	if seconds > float64(math.MaxInt64/int64(time.Second)) {
		return noBasis
	}
	return (time.Duration(seconds) * time.Second).String()
}

// String says it in words.
func (p progress) String() string {
	text := fmt.Sprintf("%d left at %d", p.left, p.reporters)
	if p.left > 0 {
		text += ", " + p.rateText() + ", done in " + p.eta()
		if p.eta() == noBasis {
			text = strings.TrimSuffix(text, "done in "+noBasis) + "no basis yet for when it is done"
		}
	}
	if p.parked > 0 {
		text += fmt.Sprintf(", %d parked for a human", p.parked)
	}
	if len(p.behind) > 0 {
		text += ", not in force at " + shortList(p.behind)
	}
	if len(p.silent) > 0 {
		text += ", not heard of " + shortList(p.silent)
	}
	return text
}

func (p progress) rateText() string { return strconv.FormatFloat(p.rate, 'g', 3, 64) + "/s" }

// output is what later steps, and people, can read. Empty values remove what was written before.
func (p progress) output(now time.Time) map[string]string {
	return map[string]string{
		outQueued: strconv.FormatInt(p.left, 10), outParked: strconv.FormatInt(p.parked, 10), outRate: p.rateText(),
		outETA: p.eta(), outBehind: shortList(p.behind), outSilent: shortList(p.silent),
		outNow: now.UTC().Format(time.RFC3339Nano),
	}
}

// differs tells whether there is anything new to write.
func (p progress) differs(out map[string]string) bool {
	for name, value := range p.output(time.Time{}) {
		if name != outNow && out[name] != value {
			return true
		}
	}
	return false
}

// shortList joins the first few names.
func shortList(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
