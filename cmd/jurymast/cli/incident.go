package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// getIncidents lists the newest incidents.
func (a *App) getIncidents(ctx context.Context) error {
	api, err := a.api()
	if err != nil {
		return err
	}
	res, err := api.ListIncidents(ctx, &jv1.ListIncidentsRequest{})
	if err != nil {
		return err
	}
	t := &table{columns: []column{
		{title: "INCIDENT"},
		{title: "STATUS", tint: tintState},
		{title: "TITLE", elastic: true},
		{title: "NEXT_UPDATE"},
		{title: "AGE"},
		{title: "IMPACT", wide: true},
		{title: "SERVICES", wide: true},
		{title: "VENDOR", wide: true},
	}}
	var names []named
	for _, i := range res.GetIncidents() {
		next := "-"
		if i.GetNextUpdateTime().IsValid() {
			next = a.ago(i.GetNextUpdateTime().AsTime())
		}
		t.add(i.GetName(), word(i.GetStatus()), oneLine(i.GetTitle()), next, a.moment(i.GetCreateTime()), word(i.GetImpact()),
			strings.Join(i.GetServices(), ","), dash(i.GetVendor()))
		names = append(names, named{"incident", i.GetName()})
	}
	return a.show(result{
		message: res, names: names,
		text: func() error { return a.showTable(t, "There was no incident yet.") },
	})
}

// describeIncident shows one incident, found by its id or a unique beginning or end of it, with all that was said.
func (a *App) describeIncident(ctx context.Context, id string) error {
	i, err := a.findIncident(ctx, id)
	if err != nil {
		return err
	}
	return a.show(result{
		message: i, names: []named{{"incident", i.GetName()}},
		text: func() error { return a.print([]byte(a.renderIncident(i))) },
	})
}

func (a *App) findIncident(ctx context.Context, id string) (*jv1.Incident, error) {
	api, err := a.api()
	if err != nil {
		return nil, err
	}
	var found []*jv1.Incident
	token := ""
	for {
		page, err := api.ListIncidents(ctx, &jv1.ListIncidentsRequest{PageSize: maxPage, PageToken: token})
		if err != nil {
			return nil, err
		}
		found = append(found, keep(page.GetIncidents(), func(i *jv1.Incident) bool { return matchesID(i.GetName(), id) })...)
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	switch len(found) {
	case 0:
		return nil, Exit(ExitNotFound, errors.New("there is no incident "+quoted(id)))
	case 1:
		return found[0], nil
	default:
		return nil, usage("%q fits %d incidents", id, len(found))
	}
}

func (a *App) renderIncident(i *jv1.Incident) string {
	status := word(i.GetStatus())
	next, over := "", ""
	if i.GetNextUpdateTime().IsValid() {
		next = a.momentInFull(i.GetNextUpdateTime())
	}
	if i.GetResolveTime().IsValid() {
		over = a.momentInFull(i.GetResolveTime())
	}
	text := a.renderFields(
		field{"Incident", i.GetName()},
		field{"Title", oneLine(i.GetTitle())},
		field{"Status", a.paint.as(tintState(status), status)},
		field{"Impact", word(i.GetImpact())},
		field{"Services", strings.Join(i.GetServices(), ", ")},
		field{"Vendor", i.GetVendor()},
		field{"First failure", a.momentInFull(i.GetOnset())},
		field{"Opened", a.momentInFull(i.GetCreateTime())},
		field{"Resolved", over},
		field{"Next update", next},
		field{"Runs", strings.Join(i.GetRuns(), ", ")},
	)
	var b strings.Builder
	b.WriteString(text + "\n" + a.paint.as(tintBold, "What was said, the newest first") + "\n")
	for n := len(i.GetUpdates()) - 1; n >= 0; n-- {
		u := i.GetUpdates()[n]
		fmt.Fprintf(&b, "  %s  %s by %s\n", a.moment(u.GetTime()), word(u.GetStatus()), strings.TrimSpace(u.GetActor()+" "+u.GetRun()))
		for _, line := range strings.Split(u.GetText(), "\n") {
			b.WriteString("    " + strings.Join(fold(line, screen-4), "\n    ") + "\n")
		}
	}
	return b.String()
}

// openIncidents shows what people are told about and by when they hear more, in a line for each.
func (s *statusScreen) openIncidents() {
	if len(s.incidents) == 0 {
		return
	}
	s.heading("Incidents")
	for _, i := range s.incidents {
		s.fold("  ", fmt.Sprintf("%s  %s, %s, since %s, %s", i.GetName(), oneLine(i.GetTitle()), word(i.GetStatus()), s.moment(i.GetOnset()), s.promised(i)))
	}
}

// promised says by when people hear of an incident again.
func (s *statusScreen) promised(i *jv1.Incident) string {
	next := i.GetNextUpdateTime()
	switch {
	case !next.IsValid():
		return "no further update promised"
	case s.Now().After(next.AsTime()):
		return s.paint.as(tintBad, "next update OVERDUE since "+s.moment(next))
	case times(s.flags.times) != timesRelative:
		return "next update by " + s.moment(next)
	default:
		return "next update " + s.ago(next.AsTime())
	}
}
