package engine

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

func TestWhatIsSlow(t *testing.T) {
	seconds := func(list ...int) (out []time.Duration) {
		for _, s := range list {
			out = append(out, time.Duration(s)*time.Second)
		}
		return out
	}
	for name, tc := range map[string]struct {
		samples []time.Duration
		limit   time.Duration
		ok      bool
	}{
		"nothing known":                 {nil, 0, false},
		"too few":                       {seconds(60, 60, 60, 60), 0, false},
		"enough":                        {seconds(60, 60, 60, 60, 60), 2 * time.Minute, true},
		"what takes no time":            {seconds(0, 0, 0, 0, 0), 10 * time.Second, true},
		"one in ten is not counted":     {seconds(10, 9, 8, 7, 6, 5, 4, 3, 2, 1000), 20 * time.Second, true},
		"the slowest of five is":        {seconds(10, 20, 30, 40, 100), 200 * time.Second, true},
		"two in eleven are not all out": {seconds(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1000), 20 * time.Second, true},
	} {
		if limit, _, ok := slowAfter(tc.samples); limit != tc.limit || ok != tc.ok {
			t.Errorf("%s: %v %v, want %v %v", name, limit, ok, tc.limit, tc.ok)
		}
	}
}

func TestHistoryCountsWhatIsAlike(t *testing.T) {
	t0 := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	run := func(edit ...func(*jv1.Run)) store.Record[*jv1.Run] {
		r := &jv1.Run{
			Runbook: "s", Mode: jv1.RunMode_RUN_MODE_LIVE, State: jv1.RunState_RUN_STATE_SUCCEEDED,
			Steps: []*jv1.StepRun{{
				Id: "one", State: jv1.StepState_STEP_STATE_SUCCEEDED, StartTime: timestamppb.New(t0), EndTime: timestamppb.New(t0.Add(time.Minute)),
			}},
		}
		for _, f := range edit {
			f(r)
		}
		return store.Record[*jv1.Run]{Msg: r}
	}
	records := []store.Record[*jv1.Run]{
		run(func(r *jv1.Run) { r.Runbook = "other" }),
		run(func(r *jv1.Run) { r.Mode = jv1.RunMode_RUN_MODE_DRILL }),
		run(func(r *jv1.Run) { r.State = jv1.RunState_RUN_STATE_RUNNING }),
		run(func(r *jv1.Run) { r.Steps[0].Id = "two" }),
		run(func(r *jv1.Run) { r.Steps[0].State = jv1.StepState_STEP_STATE_FAILED }),
		run(),
		run(func(r *jv1.Run) { r.Steps[0].Held = durationpb.New(20 * time.Second) }),
	}
	if got := history(records, "s", "one"); len(got) != 2 || got[0] != 40*time.Second || got[1] != time.Minute {
		t.Errorf("samples %v, want 40s without the time humans held it, and 1m", got)
	}
	var many []store.Record[*jv1.Run]
	for range 200 {
		many = append(many, run())
	}
	if got := history(many, "s", "one"); len(got) != historyRuns {
		t.Errorf("%d samples, want the last %d", len(got), historyRuns)
	}
}
