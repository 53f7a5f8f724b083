package server_test

import (
	"sync/atomic"
	"testing"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// shifted is a clock that can be ahead of the real one.
type shifted struct{ by atomic.Int64 }

func (s *shifted) now() time.Time { return time.Now().Add(time.Duration(s.by.Load())) }

// to lets the clock show a time.
func (s *shifted) to(when time.Time) { s.by.Store(int64(time.Until(when))) }

// TestSchedulesOnRealParts fires a schedule on a real etcd, which starts a run; after a restart the same time is not
// fired again, what was missed meanwhile is counted, and the next time fires.
func TestSchedulesOnRealParts(t *testing.T) {
	clock := &shifted{}
	noon := time.Now().UTC().Truncate(24 * time.Hour).Add(36 * time.Hour)
	clock.to(noon.Add(-3 * time.Second))
	o := options(t)
	o.Now = clock.now
	r := start(t, o)
	alpha := newProvider(t, "alpha")
	tidy := failover("tidy", "chat", "log")
	tidy.On, tidy.Steps = nil, tidy.GetSteps()[len(tidy.GetSteps())-1:]
	r.apply(alpha.resource(), service("chat", alpha), logChannel("log"), runbook(tidy),
		&jv1.Resource{Kind: &jv1.Resource_Schedule{Schedule: &jv1.Schedule{Name: "hourly", Cron: "0 * * * *", Runbook: "tidy"}}})
	standing := func() *jv1.Schedule {
		s, err := r.catalog().GetSchedule(t.Context(), &jv1.GetScheduleRequest{Name: "hourly"})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := standing(); !s.GetNextTime().AsTime().Equal(noon) || s.GetLastTime() != nil {
		t.Errorf("%v", s)
	}
	fired := func() []*jv1.Trigger {
		list, err := r.detectors().ListTriggers(t.Context(), &jv1.ListTriggersRequest{Service: "chat"})
		if err != nil {
			t.Fatal(err)
		}
		return list.GetTriggers()
	}
	eventually(t, "noon is fired and its run ends", func() bool {
		list, err := r.runs().ListRuns(t.Context(), &jv1.ListRunsRequest{Service: "chat"})
		return err == nil && len(list.GetRuns()) == 1 && list.GetRuns()[0].GetState() == jv1.RunState_RUN_STATE_SUCCEEDED &&
			list.GetRuns()[0].GetActor() == "schedule/hourly"
	})
	if s := standing(); !s.GetLastTime().AsTime().Equal(noon) || !s.GetNextTime().AsTime().Equal(noon.Add(time.Hour)) ||
		s.GetLastTrigger() != fired()[0].GetName() || s.GetMissed() != 0 {
		t.Errorf("%v", s)
	}
	r.stop()
	clock.to(noon.Add(-time.Second)) // the clock steps back over what has fired
	r = start(t, o)
	if s := standing(); !s.GetNextTime().AsTime().Equal(noon.Add(time.Hour)) || len(fired()) != 1 {
		t.Errorf("%v, %v", s, fired())
	}
	r.stop()
	clock.to(noon.Add(4*time.Hour - 3*time.Second)) // nobody was there for three hours
	r = start(t, o)
	eventually(t, "the next time is fired", func() bool { return len(fired()) == 2 })
	if s := standing(); !s.GetLastTime().AsTime().Equal(noon.Add(4*time.Hour)) || s.GetMissed() != 3 {
		t.Errorf("%v", s)
	}
}
