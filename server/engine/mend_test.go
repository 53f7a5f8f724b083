package engine_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

var update = flag.Bool("update", false, "write the golden files anew")

// runID is what differs from run to run in an explanation.
var runID = regexp.MustCompile(`r-[0-9a-z]{20}`)

// Every guard that can hold a trigger back is explained, with what lifts it, by why-not and by plan: the texts stand in
// testdata/why-not.golden.
func TestEveryGuardIsExplainedWithWhatLiftsIt(t *testing.T) {
	outage := func() *jv1.Runbook { return book("outage", doing(switchTo("b", "c"))) }
	var got strings.Builder
	for _, tc := range []struct {
		guard continuity.Guard
		given func(r *rig)
	}{
		{continuity.AutomationOff, func(r *rig) {
			r.catalog(outage())
			if _, err := r.first.desk.SetAutomation(as(r.ctx, "ana"), &jv1.SetAutomationRequest{Reason: "network works"}); err != nil {
				r.t.Fatal(err)
			}
			r.fails("a", 1)
		}},
		{continuity.BreakGlass, func(r *rig) {
			r.catalog(outage())
			r.health("a", jv1.HealthState_HEALTH_STATE_UNKNOWN, 0)
			r.health("b", jv1.HealthState_HEALTH_STATE_SUSPECT, 0)
			if _, err := r.first.desk.Switch(as(r.ctx, "ana"), &jv1.SwitchProviderRequest{
				Service: "chat", Provider: "b", Reason: "status page lies", BreakGlass: true,
			}); err != nil {
				r.t.Fatal(err)
			}
			r.fails("b", 1)
		}},
		{continuity.Maintenance, func(r *rig) {
			r.catalog(outage())
			r.window("move", time.Hour)
			r.fails("a", 1)
		}},
		{continuity.Cooldown, func(r *rig) {
			r.catalog(outage())
			r.fails("a", 1)
			synctest.Wait()
			r.undone(1)
			r.fails("a", 2)
		}},
		{continuity.SwitchLimit, func(r *rig) {
			r.catalog(outage())
			r.commit(store.Put(store.SettingsKey("default"), &jv1.Settings{
				Name: "default", SwitchLimit: &jv1.SwitchLimit{Count: 1, Window: durationpb.New(time.Hour)},
			}))
			r.fails("a", 1)
			synctest.Wait()
			r.fails("b", 1)
		}},
		{continuity.LiveRun, func(r *rig) {
			r.catalog(book("outage", doing(switchTo("b", "c"), pauseFor(time.Hour))))
			r.fails("a", 1)
			synctest.Wait()
			r.fails("b", 1)
		}},
	} {
		inBubble(t, func(t *testing.T, r *rig) {
			tc.given(r)
			synctest.Wait()
			why, err := r.first.engine.WhyNot(r.ctx, "chat")
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&got, "%s\n", tc.guard)
			found := false
			for _, e := range why.GetEntries() {
				found = found || e.GetReason() == string(tc.guard)
				fmt.Fprintf(&got, "  why-not: %s %s\n", e.GetReason(), runID.ReplaceAllString(e.GetExplanation(), "RUN"))
			}
			if !found {
				t.Errorf("why-not does not name %s: %v", tc.guard, why.GetEntries())
			}
			plan, err := r.first.engine.Plan(r.ctx, &jv1.PlanRunbookRequest{Name: "outage"})
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&got, "  plan: %s %s\n", plan.GetGuard(), runID.ReplaceAllString(plan.GetDetail(), "RUN"))
		})
	}
	file := filepath.Join("testdata", "why-not.golden")
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}
