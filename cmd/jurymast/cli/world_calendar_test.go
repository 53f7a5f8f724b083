package cli_test

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/calendar"
)

// standing adds what a server knows of a schedule: its next time is always the next whole hour here.
func (w *world) standing(s *jv1.Schedule) *jv1.Schedule {
	out := proto.CloneOf(s)
	if !s.GetPaused() {
		out.NextTime = timestamppb.New(w.now.Add(time.Hour))
	}
	return out
}

func (w *world) GetSchedule(_ context.Context, req *jv1.GetScheduleRequest) (*jv1.Schedule, error) {
	r, err := w.one("schedule", req.GetName())
	if err != nil {
		return nil, err
	}
	return w.standing(r.GetSchedule()), nil
}

func (w *world) ListSchedules(context.Context, *jv1.ListSchedulesRequest) (*jv1.ListSchedulesResponse, error) {
	res := &jv1.ListSchedulesResponse{}
	for _, r := range w.pick("schedule") {
		res.Schedules = append(res.Schedules, w.standing(r.GetSchedule()))
	}
	return res, nil
}

func (w *world) opened(m *jv1.Maintenance) *jv1.Maintenance {
	out := proto.CloneOf(m)
	open, change := calendar.Open(m, w.now)
	if out.Open = open; !change.IsZero() {
		out.NextChangeTime = timestamppb.New(change)
	}
	return out
}

func (w *world) GetMaintenance(_ context.Context, req *jv1.GetMaintenanceRequest) (*jv1.Maintenance, error) {
	r, err := w.one("maintenance", req.GetName())
	if err != nil {
		return nil, err
	}
	return w.opened(r.GetMaintenance()), nil
}

func (w *world) ListMaintenances(context.Context, *jv1.ListMaintenancesRequest) (*jv1.ListMaintenancesResponse, error) {
	res := &jv1.ListMaintenancesResponse{}
	for _, r := range w.pick("maintenance") {
		res.Maintenances = append(res.Maintenances, w.opened(r.GetMaintenance()))
	}
	return res, nil
}

func (w *world) GetSettings(context.Context, *jv1.GetSettingsRequest) (*jv1.Settings, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	stored := w.resources["settings"]["default"].GetSettings()
	out := runbooks.EffectiveSettings(stored)
	if stored != nil {
		out.Revision = w.revision
	}
	return out, nil
}
