package traffic

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Report is what a campaign came to.
type Report struct {
	// Requests that were sent, and how many of them started a run.
	Requests, Accepted int
	// Succeeded runs, runs that wait because an outcome is not known, and runs that a later start superseded there.
	Succeeded, Unknown, Superseded int
	// Claims is how often a run was taken over.
	Claims int
	// Repeated calls: a key that the sink saw again.
	Repeated int
	// Runs by name, with their events.
	Runs map[string]Story
	// Findings are what must not be; empty when everything held.
	Findings []string
}

// Story is a run with its journal.
type Story struct {
	Run    *jv1.Run
	Events []*jv1.RunEvent
}

func (r *Report) wrong(format string, args ...any) {
	r.Findings = append(r.Findings, fmt.Sprintf(format, args...))
}

// String is one line of figures.
func (r *Report) String() string {
	return fmt.Sprintf("%d requests, %d runs accepted: %d succeeded, %d wait for a human (outcome unknown), %d superseded there; %d take-overs, %d calls repeated with their key, %d findings",
		r.Requests, r.Accepted, r.Succeeded, r.Unknown, r.Superseded, r.Claims, r.Repeated, len(r.Findings))
}

// Settle waits until every run has ended or waits for a human, at most until ctx ends.
func Settle(ctx context.Context, conn *grpc.ClientConn) error {
	for {
		runs, err := list(ctx, conn, true)
		if err != nil {
			return err
		}
		open := slices.DeleteFunc(runs, func(r *jv1.Run) bool { return r.GetState() == jv1.RunState_RUN_STATE_WAITING })
		if len(open) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d runs neither ended nor wait for a human, the first is %s in %v owned by %s", len(open), open[0].GetName(), open[0].GetState(), open[0].GetOwner().GetSession())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func list(ctx context.Context, conn *grpc.ClientConn, live bool) ([]*jv1.Run, error) {
	var all []*jv1.Run
	for token := ""; ; {
		page, err := jv1.NewRunServiceClient(conn).ListRuns(ctx, &jv1.ListRunsRequest{Live: live, PageSize: 500, PageToken: token})
		if err != nil {
			return nil, fmt.Errorf("list runs: %w", err)
		}
		all = append(all, page.GetRuns()...)
		if token = page.GetNextPageToken(); token == "" {
			return all, nil
		}
	}
}

func events(ctx context.Context, conn *grpc.ClientConn, run string) ([]*jv1.RunEvent, error) {
	var all []*jv1.RunEvent
	for after := int64(0); ; {
		page, err := jv1.NewRunServiceClient(conn).ListRunEvents(ctx, &jv1.ListRunEventsRequest{Run: run, After: after})
		if err != nil {
			return nil, fmt.Errorf("events of %s: %w", run, err)
		}
		all = append(all, page.GetEvents()...)
		if !page.GetMore() || len(page.GetEvents()) == 0 {
			return all, nil
		}
		after = all[len(all)-1].GetSequence()
	}
}

// Case is what is to be judged.
type Case struct {
	// Conn to a replica.
	Conn *grpc.ClientConn
	// Ledger of what was asked for.
	Ledger []Request
	// Shown is how often the sink saw each key.
	Shown map[string]int
	// Prefix of the request ids to judge. Empty: all of them, and with them the routes and the sink's keys as a whole.
	Prefix string
}

// Judge compares the ledger and what the sink saw with what the installation says happened. Everything must be healed and
// settled before.
func Judge(ctx context.Context, c Case) (*Report, error) {
	conn, shown := c.Conn, c.Shown
	r := &Report{Requests: len(c.Ledger), Runs: map[string]Story{}}
	runs, err := list(ctx, conn, false)
	if err != nil {
		return nil, err
	}
	for _, run := range runs {
		if !strings.HasPrefix(run.GetReason(), c.Prefix) {
			continue
		}
		evs, err := events(ctx, conn, run.GetName())
		if err != nil {
			return nil, err
		}
		r.Runs[run.GetName()] = Story{Run: run, Events: evs}
		r.journal(run, evs)
		r.calls(run, shown)
	}
	r.ledger(c.Ledger)
	if c.Prefix != "" {
		return r, nil
	}
	r.strangers(shown)
	states, err := jv1.NewContinuityServiceClient(conn).ListContinuity(ctx, &jv1.ListContinuityRequest{})
	if err != nil {
		return nil, fmt.Errorf("list the routes: %w", err)
	}
	for _, st := range states.GetStates() {
		r.route(st)
	}
	return r, nil
}

// ledger: what was accepted is there once, and nothing else is.
func (r *Report) ledger(ledger []Request) {
	by := map[string]string{} // request to run, by what the runs say
	for name, s := range r.Runs {
		if other := by[s.Run.GetReason()]; other != "" {
			r.wrong("%s started both %s and %s", s.Run.GetReason(), other, name)
		}
		by[s.Run.GetReason()] = name
	}
	known := map[string]bool{}
	for _, req := range ledger {
		known[req.ID] = true
		switch {
		case req.Run == "" && req.Refused == "":
			r.wrong("nobody knows what became of %s after %d tries", req.ID, req.Tries)
		case req.Run == "" && by[req.ID] != "" && req.Doubt:
			r.Accepted++
		case req.Run == "" && by[req.ID] != "":
			r.wrong("%s was refused (%s) and started %s", req.ID, req.Refused, by[req.ID])
		case req.Run != "":
			r.Accepted++
			if by[req.ID] != req.Run {
				r.wrong("%s was accepted as %s, and what is stored is %q", req.ID, req.Run, by[req.ID])
			}
		}
	}
	for reason, name := range by {
		if !known[reason] {
			r.wrong("%s runs for %q, which nobody asked for", name, reason)
		}
	}
}

// journal: events are numbered without a gap, begin with the creation and, when the run has ended, end with that; and the
// run has ended well, or stands where a human is needed.
func (r *Report) journal(run *jv1.Run, evs []*jv1.RunEvent) {
	name := run.GetName()
	for i, ev := range evs {
		if ev.GetSequence() != int64(i)+1 {
			r.wrong("event %d of %s has the number %d", i+1, name, ev.GetSequence())
			break
		}
		if ev.GetKind() == jv1.RunEventKind_RUN_EVENT_KIND_CLAIMED {
			r.Claims++
		}
	}
	if int64(len(evs)) != run.GetLastEvent() || len(evs) == 0 {
		r.wrong("%s counts %d events and has %d", name, run.GetLastEvent(), len(evs))
		return
	}
	if evs[0].GetKind() != jv1.RunEventKind_RUN_EVENT_KIND_CREATED {
		r.wrong("%s begins with %v", name, evs[0].GetKind())
	}
	last := evs[len(evs)-1].GetKind()
	if ended := last == jv1.RunEventKind_RUN_EVENT_KIND_ENDED; ended != (run.GetEndTime() != nil) {
		r.wrong("%s stands %v and its last event is %v", name, run.GetState(), last)
	}
	r.end(run, evs)
}

// end: no run of these fails.
func (r *Report) end(run *jv1.Run, evs []*jv1.RunEvent) {
	unknown := slices.ContainsFunc(evs, func(ev *jv1.RunEvent) bool {
		return ev.GetKind() == jv1.RunEventKind_RUN_EVENT_KIND_OUTCOME_UNKNOWN
	})
	for _, ev := range evs {
		if ev.GetKind() == jv1.RunEventKind_RUN_EVENT_KIND_OUTCOME_UNKNOWN && ev.GetStep() != stepOnce {
			r.wrong("%s does not know the outcome of %s, which may be repeated", run.GetName(), ev.GetStep())
		}
	}
	switch state := run.GetState(); {
	case state == jv1.RunState_RUN_STATE_SUCCEEDED:
		r.Succeeded++
		for _, st := range run.GetSteps() {
			if st.GetState() != jv1.StepState_STEP_STATE_SUCCEEDED {
				r.wrong("%s succeeded with step %s in %v", run.GetName(), st.GetId(), st.GetState())
			}
		}
	case state == jv1.RunState_RUN_STATE_WAITING && run.GetWait() == jv1.RunWait_RUN_WAIT_OUTCOME_UNKNOWN:
		r.Unknown++
	case state == jv1.RunState_RUN_STATE_SUPERSEDED && unknown:
		r.Superseded++
	default:
		r.wrong("%s stands %v, waits for %v: %s", run.GetName(), state, run.GetWait(), run.GetOutcome())
	}
}

// key is the idempotency key of a step of a run.
func key(run *jv1.Run, step string) string { return run.GetName() + "." + step }

// calls: what succeeded was shown to the sink, and what may be made once was shown once.
func (r *Report) calls(run *jv1.Run, shown map[string]int) {
	if n := shown[key(run, stepOnce)]; n > 1 {
		r.wrong("%s of %s may be called once and was called %d times", stepOnce, run.GetName(), n)
	}
	for _, st := range run.GetSteps() {
		called := st.GetId() == stepCall || st.GetId() == stepOnce
		if called && st.GetState() == jv1.StepState_STEP_STATE_SUCCEEDED && shown[key(run, st.GetId())] == 0 {
			r.wrong("%s of %s succeeded and never reached the sink", st.GetId(), run.GetName())
		}
	}
	r.Repeated += max(0, shown[key(run, stepCall)]-1)
}

// strangers: every key that the sink saw belongs to a call of a run that is stored.
func (r *Report) strangers(shown map[string]int) {
	known := map[string]bool{}
	for _, s := range r.Runs {
		known[key(s.Run, stepCall)], known[key(s.Run, stepOnce)] = true, true
	}
	for k := range shown {
		if !known[k] {
			r.wrong("the sink saw the key %q, which no stored run has", k)
		}
	}
}

// route: each epoch after the first was made by the switch of one run, none by two, and the service is where the switch of
// the newest epoch took it.
func (r *Report) route(st *jv1.ContinuityState) {
	made := map[int64]*jv1.Run{}
	for name, s := range r.Runs {
		undo := s.Run.GetSteps()[0].GetUndo()
		if s.Run.GetService() != st.GetService() || undo == nil || undo.GetProvider() == target(s.Run) {
			continue // it was there already
		}
		if other := made[undo.GetEpoch()]; other != nil {
			r.wrong("%s and %s both made epoch %d of %s", other.GetName(), name, undo.GetEpoch(), st.GetService())
		}
		made[undo.GetEpoch()] = s.Run
	}
	active := providerA
	for epoch := int64(2); epoch <= st.GetEpoch(); epoch++ {
		if made[epoch] == nil {
			r.wrong("nobody made epoch %d of %s", epoch, st.GetService())
			return
		}
		active = target(made[epoch])
	}
	if want := int64(len(made)) + 1; st.GetEpoch() != want || st.GetActiveProvider() != active {
		r.wrong("%s is at %s, epoch %d; its runs make it %s, epoch %d", st.GetService(), st.GetActiveProvider(), st.GetEpoch(), active, want)
	}
}

// target is the provider that a run switches to.
func target(run *jv1.Run) string { return strings.TrimPrefix(run.GetRunbook(), "to-") }
