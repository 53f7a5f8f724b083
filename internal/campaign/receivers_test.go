package campaign

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/jurymast/jurymast/internal/campaign/sink"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/auth/authtest"
)

// receiver is one way in which the receiver of a step fails.
type receiver struct {
	manner sink.Manner
	// open starts the sink; nil: an ordinary one.
	open func(t *testing.T) *sink.Sink
	// again and once are how the steps end that may be repeated and that may not; shown is how often each reached the sink:
	// of one that may be repeated at least that.
	again, once           jv1.StepState
	againShown, onceShown int
}

const (
	stepFailed    = jv1.StepState_STEP_STATE_FAILED
	stepUnknown   = jv1.StepState_STEP_STATE_OUTCOME_UNKNOWN
	stepSucceeded = jv1.StepState_STEP_STATE_SUCCEEDED
)

// receivers are the kinds of the table.
func receivers() map[string]receiver {
	return map[string]receiver{
		"receiver-429":        {manner: sink.Busy, again: stepFailed, againShown: 2, once: stepFailed, onceShown: 1},
		"receiver-5xx":        {manner: sink.Broken, again: stepFailed, againShown: 2, once: stepUnknown, onceShown: 1},
		"receiver-hang":       {manner: sink.Hanging, again: stepFailed, againShown: 1, once: stepUnknown, onceShown: 1},
		"receiver-slow-loris": {manner: sink.Dripping, again: stepFailed, againShown: 1, once: stepUnknown, onceShown: 1},
		"receiver-flood":      {manner: sink.Flood, again: stepSucceeded, againShown: 1, once: stepSucceeded, onceShown: 1},
		"receiver-truncated":  {manner: sink.Truncated, again: stepFailed, againShown: 2, once: stepUnknown, onceShown: 1},
		"receiver-garbage":    {manner: sink.Garbage, again: stepFailed, againShown: 1, once: stepFailed, onceShown: 1},
		"receiver-redirect":   {manner: sink.Astray, again: stepFailed, againShown: 1, once: stepFailed, onceShown: 1},
		"receiver-reset":      {manner: sink.Reset, again: stepFailed, againShown: 2, once: stepUnknown, onceShown: 1},
		"receiver-tls":        {open: openUnsigned, again: stepFailed, once: stepFailed},
		"receiver-refused":    {open: openClosed, again: stepFailed, once: stepFailed},
	}
}

// openUnsigned starts a sink with a certificate of an authority that nobody knows.
func openUnsigned(t *testing.T) *sink.Sink {
	t.Helper()
	pair := authtest.NewCA(t).Issue(authtest.Identity{CommonName: "sink", Server: true})
	s, err := sink.Start(&tls.Config{Certificates: []tls.Certificate{pair.TLS}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// openClosed starts a sink and ends it.
func openClosed(t *testing.T) *sink.Sink {
	t.Helper()
	s, err := sink.Start(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

// Campaign C4, receivers: whatever the other side of a step's call does, the step ends in a named state within its time, a
// call that may be made once is made once, and what comes back is bounded.
func TestKindsOfFaultsOfReceivers(t *testing.T) {
	t.Parallel()
	conn := startServer(t, nil)
	t.Run("kinds", func(t *testing.T) {
		for name, r := range receivers() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r.fail(t, conn, name)
			})
		}
	})
}

func (r receiver) fail(t *testing.T, conn *grpc.ClientConn, service string) {
	open := r.open
	if open == nil {
		open = startSink
	}
	s := open(t)
	r.apply(t, conn, service, s.URL())
	if r.open == nil {
		// The connection was used before: that is when an HTTP client is tempted to send again by itself.
		for _, book := range []string{service + "-again", service + "-once"} {
			if step := finished(t, conn, book, service); step.GetState() != stepSucceeded {
				t.Fatalf("before the fault: %v", step)
			}
		}
	}
	s.Behave(r.manner)
	before := s.Shown()
	once := finished(t, conn, service+"-once", service)
	again := finished(t, conn, service+"-again", service)
	if again.GetState() != r.again || once.GetState() != r.once {
		t.Errorf("the call that may be repeated is %v (%s), the other %v (%s); want %v and %v",
			again.GetState(), again.GetError(), once.GetState(), once.GetError(), r.again, r.once)
	}
	shown := func(id string) (n int) {
		for k, v := range s.Shown() {
			if strings.HasSuffix(k, "."+id) && before[k] == 0 {
				n += v
			}
		}
		return n
	}
	if shown("again") < r.againShown || shown("once") != r.onceShown {
		t.Errorf("the call that may be repeated was made %d times, the other %d times; want %d or more, and %d",
			shown("again"), shown("once"), r.againShown, r.onceShown)
	}
	for _, step := range []*jv1.StepRun{again, once} {
		for k, v := range step.GetOutput() {
			if len(v) > 4<<10 {
				t.Errorf("output %s is %d bytes long", k, len(v))
			}
		}
	}
}

// apply stores a service and the two runbooks of one call.
func (r receiver) apply(t *testing.T, conn *grpc.ClientConn, service, url string) {
	t.Helper()
	step := func(id string, repeat jv1.Repeatability) *jv1.Runbook {
		post := &jv1.HttpRequestStep{Url: url + "/" + id, Repeat: repeat}
		if r.manner == sink.Garbage {
			post.Expect = "json.done == true"
		}
		return &jv1.Runbook{Name: service + "-" + id, Services: []string{service}, Steps: []*jv1.Step{{
			Id: id, Timeout: durationpb.New(2500 * time.Millisecond), Retry: &jv1.Retry{Attempts: 2, Initial: durationpb.New(20 * time.Millisecond)},
			Action: &jv1.Step_HttpRequest{HttpRequest: post},
		}}}
	}
	once := step("once", jv1.Repeatability_REPEATABILITY_AT_MOST_ONCE)
	once.Steps[0].Retry = nil
	_, err := jv1.NewCatalogServiceClient(conn).Apply(within(t, time.Minute), &jv1.ApplyRequest{Resources: []*jv1.Resource{
		{Kind: &jv1.Resource_Provider{Provider: &jv1.Provider{Name: service, BaseUrl: "http://127.0.0.1"}}},
		{Kind: &jv1.Resource_Service{Service: &jv1.Service{Name: service, Providers: []*jv1.ServiceProvider{{Name: service}}}}},
		{Kind: &jv1.Resource_Runbook{Runbook: step("again", jv1.Repeatability_REPEATABILITY_IDEMPOTENT)}},
		{Kind: &jv1.Resource_Runbook{Runbook: once}},
	}})
	if err != nil {
		t.Fatal(err)
	}
}

// finished starts a runbook of one step and returns the step when the run has ended or waits for a human.
func finished(t *testing.T, conn *grpc.ClientConn, book, service string) *jv1.StepRun {
	t.Helper()
	runs := jv1.NewRunServiceClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	run, err := runs.StartRun(ctx, &jv1.StartRunRequest{Runbook: book, Service: service, Reason: "campaign"})
	if err != nil {
		t.Fatal(err)
	}
	for run.GetEndTime() == nil && run.GetWait() == jv1.RunWait_RUN_WAIT_UNSPECIFIED {
		time.Sleep(5 * time.Millisecond)
		if run, err = runs.GetRun(ctx, &jv1.GetRunRequest{Name: run.GetName()}); err != nil {
			t.Fatal(err)
		}
	}
	return run.GetSteps()[0]
}
