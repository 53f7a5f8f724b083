package engine_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// checkable makes a call one whose receiver can be asked.
func checkable(h *jv1.HttpRequestStep) {
	h.Repeat = jv1.Repeatability_REPEATABILITY_CHECKABLE
	h.Check = &jv1.HttpCheck{Url: "http://sink/check/{{.IdempotencyKey}}", CarriedOut: "status == 200"}
}

// kindsOf lists what happened to the steps of the only run.
func kindsOf(t *testing.T, r *rig) string {
	t.Helper()
	batches, _, err := store.Scan[*recordv1.RunEvents](r.ctx, r.first.store, store.RunEventsPrefix+r.only().GetName()+"/", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, b := range batches {
		for _, ev := range b.Msg.GetEvents() {
			if ev.GetStep() != "" {
				out = append(out, strings.TrimPrefix(ev.GetKind().String(), "RUN_EVENT_KIND_"))
			}
		}
	}
	return strings.Join(out, " ")
}

// A call that ended in doubt is asked about, made again with its key when it was not carried out, and not when it was.
func TestACallInDoubtIsAskedAboutAndRepeatedOnlyWhenItWasNotCarriedOut(t *testing.T) {
	for name, tc := range map[string]struct {
		calls, checks []int // answers, the last one for good
		want          jv1.RunState
		events        string
		posts         int
	}{
		"it was":          {[]int{502}, []int{200}, succeeded, "INTENT ATTEMPT_FAILED CHECKED STEP_SUCCEEDED", 1},
		"it was not":      {[]int{502, 200}, []int{404}, succeeded, "INTENT ATTEMPT_FAILED CHECKED INTENT STEP_SUCCEEDED", 2},
		"it never is":     {[]int{502}, []int{404}, failed, "INTENT ATTEMPT_FAILED CHECKED INTENT ATTEMPT_FAILED CHECKED INTENT ATTEMPT_FAILED STEP_FAILED", 3},
		"asked again":     {[]int{502}, []int{500, 503, 200}, succeeded, "INTENT ATTEMPT_FAILED CHECKED CHECKED CHECKED STEP_SUCCEEDED", 1},
		"nobody can tell": {[]int{502}, []int{500}, jv1.RunState_RUN_STATE_WAITING, "INTENT ATTEMPT_FAILED CHECKED CHECKED OUTCOME_UNKNOWN", 1},
		"refused":         {[]int{400}, []int{200}, failed, "INTENT STEP_FAILED", 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				posts, checks := 0, 0
				r.sink.answer = func(_ int, req *http.Request) (*http.Response, error) {
					if strings.HasPrefix(req.URL.Path, "/check/") {
						if !strings.HasSuffix(req.URL.Path, ".call") || req.Method != http.MethodGet || req.Header.Get("Idempotency-Key") != "" {
							t.Errorf("asked by %s %s", req.Method, req.URL)
						}
						checks++
						return respond(tc.checks[min(checks, len(tc.checks))-1]), nil
					}
					posts++
					return respond(tc.calls[min(posts, len(tc.calls))-1]), nil
				}
				r.catalog(book("s", doing(post("call", checkable))))
				start(t, r, "s")
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				want(t, r.only(), tc.want)
				if got := kindsOf(t, r); got != tc.events || posts != tc.posts {
					t.Errorf("%d posts, %s", posts, got)
				}
			})
		})
	}
}

// The time for retries counts from the first attempt, of which the record of a long step keeps nothing.
func TestTheBudgetOfRetriesCountsFromTheFirstAttempt(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var last time.Time
		begun := time.Now()
		r.sink.answer = func(int, *http.Request) (*http.Response, error) {
			last = time.Now()
			return respond(http.StatusServiceUnavailable), nil
		}
		step := post("call")
		step.Retry = &jv1.Retry{
			Attempts: 100, Initial: durationpb.New(time.Second), Max: durationpb.New(2 * time.Second), Budget: durationpb.New(time.Minute),
		}
		r.catalog(book("s", doing(step)))
		start(t, r, "s")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		run := r.only()
		want(t, run, failed)
		if n := run.GetSteps()[0].GetAttemptCount(); n < 25 || last.Sub(begun) > time.Minute || last.Sub(begun) < 55*time.Second {
			t.Errorf("%d attempts, the last after %v", n, last.Sub(begun))
		}
	})
}

// What a step took out of an answer is used by the next one's condition and templates.
func TestOutputsOfACallAreUsedByLaterSteps(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.sink.answer = func(_ int, req *http.Request) (*http.Response, error) {
			resp := respond(http.StatusOK)
			resp.Header.Set("X-Id", "T-7")
			return resp, nil
		}
		taking := post("ticket", func(h *jv1.HttpRequestStep) {
			h.Outputs = map[string]string{"id": `headers["x-id"]`, "empty": "''"}
		})
		next := given(post("close", func(h *jv1.HttpRequestStep) {
			h.Url = `http://sink/close/{{output "ticket" "id"}}{{output "ticket" "empty"}}`
		}), `steps.ticket.output.id == "T-7" && steps.ticket.output.empty == ""`)
		r.catalog(book("s", doing(taking, next)))
		start(t, r, "s")
		synctest.Wait()
		want(t, r.only(), succeeded)
		if keys := r.sink.keys(); len(keys) != 2 || !strings.HasPrefix(keys[1], "/close/T-7 ") {
			t.Errorf("calls %v", keys)
		}
	})
}
