package api_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

func scheduleOf(name, runbook string) *jv1.Resource {
	return &jv1.Resource{Kind: &jv1.Resource_Schedule{Schedule: &jv1.Schedule{Name: name, Cron: "0 3 * * *", Runbook: runbook}}}
}

func windowOf(m *jv1.Maintenance) *jv1.Resource {
	return &jv1.Resource{Kind: &jv1.Resource_Maintenance{Maintenance: m}}
}

// apply stores resources, and returns the fields that are refused.
func (r *rig) apply(t *testing.T, resources ...*jv1.Resource) (refused string) {
	t.Helper()
	_, err := r.catalog().Apply(t.Context(), &jv1.ApplyRequest{Resources: resources})
	if err == nil {
		return ""
	}
	var fields []string
	for _, d := range status.Convert(err).Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				fields = append(fields, v.GetField())
			}
		}
	}
	if len(fields) == 0 {
		t.Fatal(err)
	}
	return strings.Join(fields, " ")
}

// TestScheduleStands shows where a schedule stands: what is stored of it, or what it will be.
func TestScheduleStands(t *testing.T) {
	r := start(t, options{})
	r.world()
	if refused := r.apply(t, scheduleOf("nightly", "failover")); refused != "" {
		t.Fatal(refused)
	}
	get := func() *jv1.Schedule {
		t.Helper()
		s, err := r.catalog().GetSchedule(t.Context(), &jv1.GetScheduleRequest{Name: "nightly"})
		if err != nil {
			t.Fatal(err)
		}
		list, err := r.catalog().ListSchedules(t.Context(), &jv1.ListSchedulesRequest{})
		if err != nil || len(list.GetSchedules()) != 1 || !proto.Equal(list.GetSchedules()[0], s) {
			t.Errorf("listed %v, %v; got %v", list, err, s)
		}
		return s
	}
	first := get()
	if next := first.GetNextTime().AsTime(); next.Hour() != 3 || time.Until(next) < -time.Minute || time.Until(next) > 25*time.Hour || first.GetRevision() == 0 {
		t.Errorf("%v", first)
	}
	stamp := func(h int) *timestamppb.Timestamp {
		return timestamppb.New(time.Date(2030, 1, 1, h, 0, 0, 0, time.UTC))
	}
	state := &recordv1.ScheduleState{
		RestoreEpoch: r.store.RestoreEpoch(), ScheduleRevision: first.GetRevision(), NextTime: stamp(5), LastTime: stamp(4), LastTrigger: "s-nightly-1", Missed: 7,
	}
	r.put(store.Put(store.ScheduleStateKey("nightly"), state))
	if s := get(); !proto.Equal(s.GetNextTime(), stamp(5)) || !proto.Equal(s.GetLastTime(), stamp(4)) || s.GetLastTrigger() != "s-nightly-1" || s.GetMissed() != 7 {
		t.Errorf("%v", s)
	}
	// A state of another revision tells what was, not what comes.
	state.ScheduleRevision--
	r.put(store.Put(store.ScheduleStateKey("nightly"), state))
	if s := get(); !proto.Equal(s.GetNextTime(), first.GetNextTime()) || s.GetLastTrigger() != "s-nightly-1" {
		t.Errorf("%v", s)
	}
	paused := scheduleOf("nightly", "failover")
	paused.GetSchedule().Paused = true
	r.apply(t, paused)
	if s := get(); s.GetNextTime() != nil {
		t.Errorf("%v", s)
	}
	if _, err := r.catalog().Delete(t.Context(), &jv1.DeleteRequest{Kind: "schedule", Name: "nightly"}); err != nil {
		t.Fatal(err)
	}
	r.store.Read(func(v store.View) {
		if rec := store.Get[*recordv1.ScheduleState](v, store.ScheduleStateKey("nightly")); rec.Msg != nil {
			t.Errorf("the state of a removed schedule is left: %v", rec.Msg)
		}
	})
	_, err := r.catalog().GetSchedule(t.Context(), &jv1.GetScheduleRequest{Name: "nightly"})
	wants(t, err, codes.NotFound, "NOT_FOUND")
}

// TestScheduleIsJudged refuses schedules that could not start anything, and changes that would make one so.
func TestScheduleIsJudged(t *testing.T) {
	r := start(t, options{})
	r.world()
	for name, c := range map[string]struct {
		edit func(*jv1.Schedule)
		want string
	}{
		"cron":       {func(s *jv1.Schedule) { s.Cron = "0 0 0 * * *" }, "resources[0].schedule.cron"},
		"never":      {func(s *jv1.Schedule) { s.Cron = "0 0 31 2 *" }, "resources[0].schedule.cron"},
		"zone":       {func(s *jv1.Schedule) { s.TimeZone = "Local" }, "resources[0].schedule.time_zone"},
		"runbook":    {func(s *jv1.Schedule) { s.Runbook = "nothing" }, "resources[0].schedule.runbook"},
		"service":    {func(s *jv1.Schedule) { s.Service = "video" }, "resources[0].schedule.service"},
		"parameters": {func(s *jv1.Schedule) { s.Parameters = map[string]string{"x": "y"} }, `resources[0].schedule.parameters["x"]`},
		"drill":      {func(s *jv1.Schedule) { s.Mode = jv1.RunMode_RUN_MODE_DRILL }, "resources[0].schedule.mode"},
	} {
		bad := scheduleOf("bad", "failover")
		c.edit(bad.GetSchedule())
		if got := r.apply(t, bad); got != c.want {
			t.Errorf("%s: refused %s, want %s", name, got, c.want)
		}
	}
	r.apply(t, scheduleOf("nightly", "failover"))
	demanding := runbook("failover", "chat", "beta", "log")
	demanding.GetRunbook().On = nil
	demanding.GetRunbook().Parameters = map[string]*jv1.Parameter{"why": {Required: true}}
	if got := r.apply(t, demanding); got != "resources[0].runbook" {
		t.Errorf("a runbook that its schedule can't start: refused %q", got)
	}
	// Both together are fine.
	knowing := scheduleOf("nightly", "failover")
	knowing.GetSchedule().Parameters = map[string]string{"why": "x"}
	if got := r.apply(t, demanding, knowing); got != "" {
		t.Errorf("refused %s", got)
	}
	_, err := r.catalog().Delete(t.Context(), &jv1.DeleteRequest{Kind: "runbook", Name: "failover"})
	wants(t, err, codes.FailedPrecondition, "IN_USE")
}

// TestMaintenanceOpens shows whether windows are open, and until when.
func TestMaintenanceOpens(t *testing.T) {
	r := start(t, options{})
	r.world()
	now := time.Now().Truncate(time.Second)
	if refused := r.apply(t,
		windowOf(&jv1.Maintenance{Name: "now", Reason: "x", Services: []string{"chat"}, Start: timestamppb.New(now.Add(-time.Hour)), End: timestamppb.New(now.Add(time.Hour))}),
		windowOf(&jv1.Maintenance{Name: "over", Reason: "x", Start: timestamppb.New(now.Add(-2 * time.Hour)), End: timestamppb.New(now.Add(-time.Hour))}),
		windowOf(&jv1.Maintenance{Name: "yearly", Reason: "x", Providers: []string{"alpha"}, Cron: "@yearly", Duration: durationpb.New(time.Minute)}),
	); refused != "" {
		t.Fatal(refused)
	}
	list, err := r.catalog().ListMaintenances(t.Context(), &jv1.ListMaintenancesRequest{})
	if err != nil || len(list.GetMaintenances()) != 3 {
		t.Fatalf("%v, %v", list, err)
	}
	m := list.GetMaintenances()
	if !m[0].GetOpen() || !m[0].GetNextChangeTime().AsTime().Equal(now.Add(time.Hour)) || m[0].GetRevision() == 0 {
		t.Errorf("%v", m[0])
	}
	if m[1].GetOpen() || m[1].GetNextChangeTime() != nil {
		t.Errorf("%v", m[1])
	}
	if m[2].GetNextChangeTime() == nil {
		t.Errorf("%v", m[2])
	}
	one, err := r.catalog().GetMaintenance(t.Context(), &jv1.GetMaintenanceRequest{Name: "now"})
	if err != nil || !proto.Equal(one, m[0]) {
		t.Errorf("%v, %v", one, err)
	}
	_, err = r.catalog().Delete(t.Context(), &jv1.DeleteRequest{Kind: "provider", Name: "alpha"})
	wants(t, err, codes.FailedPrecondition, "IN_USE")
	if got := r.apply(t, windowOf(&jv1.Maintenance{Name: "x", Reason: "x", Services: []string{"nothing"}, Start: timestamppb.New(now)})); got !=
		"resources[0].maintenance.services[0] resources[0].maintenance.end" {
		t.Errorf("refused %s", got)
	}
}

// TestSettings are the defaults until they are stored, and again when they are deleted.
func TestSettings(t *testing.T) {
	r := start(t, options{})
	get := func(count int32, window time.Duration, stored bool) {
		t.Helper()
		s, err := r.catalog().GetSettings(t.Context(), &jv1.GetSettingsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if l := s.GetSwitchLimit(); s.GetName() != "default" || l.GetCount() != count || l.GetWindow().AsDuration() != window || (s.GetRevision() != 0) != stored {
			t.Errorf("%v", s)
		}
	}
	get(10, 5*time.Minute, false)
	if refused := r.apply(t, &jv1.Resource{Kind: &jv1.Resource_Settings{Settings: &jv1.Settings{Name: "default", SwitchLimit: &jv1.SwitchLimit{Count: 3}}}}); refused != "" {
		t.Fatal(refused)
	}
	get(3, 5*time.Minute, true)
	if refused := r.apply(t, &jv1.Resource{Kind: &jv1.Resource_Settings{Settings: &jv1.Settings{Name: "other"}}}); refused != "resources[0].settings.name" {
		t.Errorf("refused %s", refused)
	}
	if _, err := r.catalog().Delete(t.Context(), &jv1.DeleteRequest{Kind: "settings", Name: "default"}); err != nil {
		t.Fatal(err)
	}
	get(10, 5*time.Minute, false)
}
