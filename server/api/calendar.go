package api

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/calendar"
	"github.com/jurymast/jurymast/server/store"
)

// GetSchedule implements [jv1.CatalogServiceServer].
func (s *catalogService) GetSchedule(_ context.Context, req *jv1.GetScheduleRequest) (*jv1.Schedule, error) {
	out, err := lookUp[*jv1.Schedule](s.common, "schedule", store.ScheduleKey(req.GetName()), req.GetName())
	if err != nil {
		return nil, err
	}
	s.store.Read(func(v store.View) { standing(v, out, s.store.RestoreEpoch(), s.now()) })
	return out, nil
}

// ListSchedules implements [jv1.CatalogServiceServer].
func (s *catalogService) ListSchedules(_ context.Context, req *jv1.ListSchedulesRequest) (*jv1.ListSchedulesResponse, error) {
	all, next, err := listPage[*jv1.Schedule](s.common, store.Schedules, req.GetPageSize(), req.GetPageToken())
	s.store.Read(func(v store.View) {
		for _, one := range all {
			standing(v, one, s.store.RestoreEpoch(), s.now())
		}
	})
	return &jv1.ListSchedulesResponse{Schedules: all, NextPageToken: next}, err
}

// standing adds to a schedule where it stands. One that was stored only now, or restored, has no state of its own yet: its
// next time is reckoned as it will be.
func standing(v store.View, s *jv1.Schedule, epoch string, now time.Time) {
	state := store.Get[*recordv1.ScheduleState](v, store.ScheduleStateKey(s.GetName())).Msg
	s.LastTime, s.LastTrigger, s.Missed = state.GetLastTime(), state.GetLastTrigger(), state.GetMissed()
	if s.GetPaused() {
		return
	}
	if state != nil && state.GetScheduleRevision() == s.GetRevision() && state.GetRestoreEpoch() == epoch {
		s.NextTime = state.GetNextTime()
		return
	}
	if next, err := calendar.Next(s.GetCron(), s.GetTimeZone(), now); err == nil {
		s.NextTime = timestamppb.New(next)
	}
}

// GetMaintenance implements [jv1.CatalogServiceServer].
func (s *catalogService) GetMaintenance(_ context.Context, req *jv1.GetMaintenanceRequest) (*jv1.Maintenance, error) {
	out, err := lookUp[*jv1.Maintenance](s.common, "maintenance", store.MaintenanceKey(req.GetName()), req.GetName())
	if err != nil {
		return nil, err
	}
	opened(out, s.now())
	return out, nil
}

// ListMaintenances implements [jv1.CatalogServiceServer].
func (s *catalogService) ListMaintenances(_ context.Context, req *jv1.ListMaintenancesRequest) (*jv1.ListMaintenancesResponse, error) {
	all, next, err := listPage[*jv1.Maintenance](s.common, store.Maintenances, req.GetPageSize(), req.GetPageToken())
	for _, one := range all {
		opened(one, s.now())
	}
	return &jv1.ListMaintenancesResponse{Maintenances: all, NextPageToken: next}, err
}

// opened adds to a window whether it is open.
func opened(m *jv1.Maintenance, now time.Time) {
	open, change := calendar.Open(m, now)
	m.Open = open
	if !change.IsZero() {
		m.NextChangeTime = timestamppb.New(change)
	}
}

// GetSettings implements [jv1.CatalogServiceServer].
func (s *catalogService) GetSettings(context.Context, *jv1.GetSettingsRequest) (*jv1.Settings, error) {
	var rec store.Record[*jv1.Settings]
	s.store.Read(func(v store.View) { rec = store.Get[*jv1.Settings](v, store.SettingsKey(runbooks.SettingsName)) })
	if rec.Msg == nil {
		return runbooks.EffectiveSettings(nil), nil
	}
	return runbooks.EffectiveSettings(shown(rec)), nil
}
