package cli

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
)

func scheduleKind() resourceKind {
	wrap := func(s *jv1.Schedule) *jv1.Resource {
		return &jv1.Resource{Kind: &jv1.Resource_Schedule{Schedule: s}}
	}
	return resourceKind{
		name: "schedule", plural: "schedules",
		page: func(ctx context.Context, api *api, size int32, token string) ([]*jv1.Resource, string, error) {
			res, err := api.ListSchedules(ctx, &jv1.ListSchedulesRequest{PageSize: size, PageToken: token})
			return convert(res.GetSchedules(), wrap), res.GetNextPageToken(), err
		},
		get: func(ctx context.Context, api *api, name string) (*jv1.Resource, error) {
			s, err := api.GetSchedule(ctx, &jv1.GetScheduleRequest{Name: name})
			return wrap(s), err
		},
		list: func(r []*jv1.Resource) proto.Message {
			return &jv1.ListSchedulesResponse{Schedules: unwrap(r, (*jv1.Resource).GetSchedule)}
		},
		columns: []column{
			{title: "SCHEDULE"},
			{title: "RUNBOOK", elastic: true},
			{title: "TIMES"},
			{title: "NEXT"},
			{title: "LAST"},
			{title: "LAST_TRIGGER", wide: true},
			{title: "MISSED", right: true},
			{title: "SERVICE", wide: true},
			{title: "MODE", wide: true},
			{title: "AGE"},
		},
		cells: func(a *App, r *jv1.Resource) []string {
			s := r.GetSchedule()
			next := a.moment(s.GetNextTime())
			switch {
			case s.GetPaused():
				next = "paused"
			case s.GetNextTime().IsValid() && times(a.flags.times) == timesRelative:
				next = a.ago(s.GetNextTime().AsTime())
			}
			return []string{
				s.GetName(), s.GetRunbook(), strings.TrimSpace(s.GetCron() + " " + s.GetTimeZone()), next, a.moment(s.GetLastTime()),
				dash(s.GetLastTrigger()), fmt.Sprint(s.GetMissed()), dash(s.GetService()), modeWord(s.GetMode()), a.moment(s.GetUpdateTime()),
			}
		},
	}
}

func modeWord(m jv1.RunMode) string {
	if m == jv1.RunMode_RUN_MODE_UNSPECIFIED {
		return "live"
	}
	return strings.ToLower(word(m))
}

func maintenanceKind() resourceKind {
	wrap := func(m *jv1.Maintenance) *jv1.Resource {
		return &jv1.Resource{Kind: &jv1.Resource_Maintenance{Maintenance: m}}
	}
	return resourceKind{
		name: "maintenance", plural: "maintenances",
		page: func(ctx context.Context, api *api, size int32, token string) ([]*jv1.Resource, string, error) {
			res, err := api.ListMaintenances(ctx, &jv1.ListMaintenancesRequest{PageSize: size, PageToken: token})
			return convert(res.GetMaintenances(), wrap), res.GetNextPageToken(), err
		},
		get: func(ctx context.Context, api *api, name string) (*jv1.Resource, error) {
			m, err := api.GetMaintenance(ctx, &jv1.GetMaintenanceRequest{Name: name})
			return wrap(m), err
		},
		list: func(r []*jv1.Resource) proto.Message {
			return &jv1.ListMaintenancesResponse{Maintenances: unwrap(r, (*jv1.Resource).GetMaintenance)}
		},
		columns: []column{
			{title: "MAINTENANCE"},
			{title: "FOR"},
			{title: "REASON", elastic: true},
			{title: "TIMES", wide: true},
			{title: "OPEN"},
			{title: "CHANGES"},
			{title: "AGE"},
		},
		cells: func(a *App, r *jv1.Resource) []string {
			m := r.GetMaintenance()
			open := "no"
			if m.GetOpen() {
				open = "yes"
			}
			changes := a.moment(m.GetNextChangeTime())
			switch {
			case !m.GetNextChangeTime().IsValid():
				changes = "over"
			case times(a.flags.times) == timesRelative:
				changes = a.ago(m.GetNextChangeTime().AsTime())
			}
			return []string{
				m.GetName(), covered(m), oneLine(m.GetReason()), windowTimes(a, m), open, changes, a.moment(m.GetUpdateTime()),
			}
		},
	}
}

// covered says in words what a window is for.
func covered(m *jv1.Maintenance) string {
	services, providers := strings.Join(m.GetServices(), ", "), strings.Join(m.GetProviders(), ", ")
	switch {
	case services == "" && providers == "":
		return "(all)"
	case services == "":
		return providers
	case providers == "":
		return services
	}
	return providers + " for " + services
}

// windowTimes says in words when a window is open.
func windowTimes(a *App, m *jv1.Maintenance) string {
	if m.GetCron() == "" {
		return a.moment(m.GetStart()) + " to " + a.moment(m.GetEnd())
	}
	return strings.TrimSpace(m.GetCron()+" "+m.GetTimeZone()) + " for " + m.GetDuration().AsDuration().String()
}

func settingsKind() resourceKind {
	wrap := func(s *jv1.Settings) *jv1.Resource {
		return &jv1.Resource{Kind: &jv1.Resource_Settings{Settings: s}}
	}
	only := func(ctx context.Context, api *api) (*jv1.Resource, error) {
		s, err := api.GetSettings(ctx, &jv1.GetSettingsRequest{})
		return wrap(s), err
	}
	return resourceKind{
		name: "settings", plural: "settings",
		page: func(ctx context.Context, api *api, _ int32, _ string) ([]*jv1.Resource, string, error) {
			r, err := only(ctx, api)
			if err != nil {
				return nil, "", err
			}
			return []*jv1.Resource{r}, "", nil
		},
		get: func(ctx context.Context, api *api, name string) (*jv1.Resource, error) {
			if name != runbooks.SettingsName {
				return nil, usage("there are only the settings of the name %s", runbooks.SettingsName)
			}
			return only(ctx, api)
		},
		list: func(r []*jv1.Resource) proto.Message { return r[0].GetSettings() },
		columns: []column{
			{title: "SETTINGS"}, {title: "SWITCHES_AT_MOST", elastic: true}, {title: "AGE"},
		},
		cells: func(a *App, r *jv1.Resource) []string {
			s := r.GetSettings()
			limit := s.GetSwitchLimit()
			return []string{s.GetName(), fmt.Sprintf("%d in %s", limit.GetCount(), age(limit.GetWindow().AsDuration())), a.moment(s.GetUpdateTime())}
		},
	}
}
