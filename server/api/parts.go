package api

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/backup"
	"github.com/jurymast/jurymast/server/store"
)

// Runs starts runs and lets humans steer them.
type Runs interface {
	// Start starts a runbook; with a known request id it returns the run that was started then.
	Start(ctx context.Context, req *jv1.StartRunRequest) (*jv1.Run, error)
	// Cancel asks a run to end.
	Cancel(ctx context.Context, req *jv1.CancelRunRequest) (*jv1.Run, error)
	// Pause holds a run before its next step.
	Pause(ctx context.Context, req *jv1.PauseRunRequest) (*jv1.Run, error)
	// Resume lets a run go on.
	Resume(ctx context.Context, req *jv1.ResumeRunRequest) (*jv1.Run, error)
	StepsOfRuns
}

// StepsOfRuns lets humans steer single steps of runs.
type StepsOfRuns interface {
	// Decide answers what a run asks.
	Decide(ctx context.Context, req *jv1.DecideRunRequest) (*jv1.Run, error)
	// Skip has a run go on without a step that waits.
	Skip(ctx context.Context, req *jv1.SkipStepRequest) (*jv1.Run, error)
	// Retry makes the next attempt of a step at once.
	Retry(ctx context.Context, req *jv1.RetryStepRequest) (*jv1.Run, error)
}

// Triggers takes causes of runs in and explains what becomes of them.
type Triggers interface {
	// Fire stores a trigger and starts what it asks for.
	Fire(ctx context.Context, req *jv1.FireTriggerRequest) (*jv1.Trigger, error)
	// WhyNot explains what holds the runbooks of a service back.
	WhyNot(ctx context.Context, service string) (*jv1.WhyNotResponse, error)
}

// Planner says what a run would do.
type Planner interface {
	// Plan goes through guards and steps without changing anything.
	Plan(ctx context.Context, req *jv1.PlanRunbookRequest) (*jv1.Plan, error)
}

// Continuity carries humans' commands out.
type Continuity interface {
	// Switch makes a provider the active one.
	Switch(ctx context.Context, req *jv1.SwitchProviderRequest) (*jv1.ContinuityState, error)
	// SetQueueing switches queueing on or off.
	SetQueueing(ctx context.Context, req *jv1.SetQueueingRequest) (*jv1.ContinuityState, error)
	// Undo takes the last switch back.
	Undo(ctx context.Context, req *jv1.UndoRequest) (*jv1.ContinuityState, error)
	// Acknowledge clears the cooldowns of a service.
	Acknowledge(ctx context.Context, req *jv1.AcknowledgeRequest) (*jv1.AcknowledgeResponse, error)
	// ReportInForce stores which epochs a follower has in force.
	ReportInForce(ctx context.Context, req *jv1.ReportInForceRequest) (*jv1.ReportInForceResponse, error)
}

// Automation stops and restarts the machines.
type Automation interface {
	// SetAutomation sets the global switch or that of a service.
	SetAutomation(ctx context.Context, req *jv1.SetAutomationRequest) (*jv1.Automation, error)
}

// Backups takes backups.
type Backups interface {
	// Take takes a verified backup; the file is the caller's to remove.
	Take(ctx context.Context) (backup.File, error)
}

// Restores carries out what a human confirms after a restore.
type Restores interface {
	// Confirm reviews what was live and lets the replicas act again.
	Confirm(ctx context.Context, reason string) (*jv1.ConfirmRestoreResponse, error)
}

// Signals takes evidence in.
type Signals interface {
	// Report stores signals of a source durably.
	Report(ctx context.Context, source string, signals []*jv1.Signal) (accepted, absorbed int, err error)
	// OperatorSignal stores a human's word, which counts for validFor (0: the default), and returns the revision of its
	// transaction.
	OperatorSignal(ctx context.Context, service, provider string, state jv1.SignalState, reason string, validFor time.Duration) (revision int64, err error)
}

// common is what the services share.
type common struct {
	store   *store.Store
	signals *signals
	now     func() time.Time
	log     hclog.Logger
}

// freshness is how old the mirror's picture is, for an answer.
func (c *common) freshness() *jv1.Freshness {
	f := c.store.Freshness()
	return &jv1.Freshness{Live: f.Live, AsOf: stamp(f.AsOf)}
}

// shown returns a record's message with its revision, as the API shows it. The stored message is not touched.
func shown[M proto.Message](r store.Record[M]) M {
	m := proto.CloneOf(r.Msg)
	setRevision(m, r.Mod)
	return m
}

func setRevision(m proto.Message, revision int64) {
	r := m.ProtoReflect()
	if f := r.Descriptor().Fields().ByName("revision"); f != nil && f.Kind() == protoreflect.Int64Kind {
		r.Set(f, protoreflect.ValueOfInt64(revision))
	}
}

// lookUp returns one record of the mirror as the API shows it.
func lookUp[M proto.Message](c *common, kind, key, name string) (M, error) {
	var rec store.Record[M]
	if !isName(name) {
		return rec.Msg, notFound(kind, name)
	}
	c.store.Read(func(v store.View) { rec = store.Get[M](v, key) })
	if rec.Mod == 0 {
		return rec.Msg, notFound(kind, name)
	}
	return shown(rec), nil
}

// isName tells whether a text can be the name of anything: what is not can't be part of a key.
func isName(text string) bool {
	if text == "" || len(text) > 128 {
		return false
	}
	for _, r := range text {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.' {
			return false
		}
	}
	return true
}

// listPage lists a page of records in the order of their names, as the API shows them.
func listPage[M proto.Message](c *common, prefix string, size int32, token string) (out []M, next string, err error) {
	p, err := newPage(size, token)
	if err != nil {
		return nil, "", err
	}
	c.store.Read(func(v store.View) {
		l := ascending[M](v, prefix, p, nil)
		out, next = shownAll(l.records), l.next
	})
	return out, next, nil
}

func shownAll[M proto.Message](records []store.Record[M]) []M {
	out := make([]M, 0, len(records))
	for _, r := range records {
		out = append(out, shown(r))
	}
	return out
}

// fromCursor reads a request's cursor.
func fromCursor(text string) (store.Cursor, error) {
	c, err := parseCursor(text)
	if err != nil {
		return c, invalid(Violation{Field: "cursor", Message: err.Error()})
	}
	return c, nil
}
