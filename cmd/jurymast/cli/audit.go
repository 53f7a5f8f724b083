package cli

import (
	"github.com/spf13/cobra"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func (a *App) auditCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show who changed what and why, newest first",
		Example: examples(
			"jurymast audit", "the newest",
			"jurymast audit --limit 1000 --time utc -o wide", "many, with the details",
		),
		GroupID: GroupLook,
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := a.api()
			if err != nil {
				return err
			}
			var events []*jv1.AuditEvent
			if err := eachPage(limit, func(size int32, token string) (string, int, error) {
				res, err := api.ListAuditEvents(cmd.Context(), &jv1.ListAuditEventsRequest{PageSize: size, PageToken: token})
				events = append(events, res.GetEvents()...)
				return res.GetNextPageToken(), len(events), err
			}); err != nil {
				return err
			}
			return a.showAudit(events)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "most events to show")
	return cmd
}

func (a *App) showAudit(events []*jv1.AuditEvent) error {
	t := &table{columns: []column{
		{title: "EVENT", wide: true},
		{title: "ACTOR"},
		{title: "ROLE", wide: true},
		{title: "ACTION"},
		{title: "TARGET"},
		{title: "REASON", elastic: true},
		{title: "DETAILS", wide: true},
		{title: "AGE"},
	}}
	var names []named
	for _, e := range events {
		t.add(e.GetName(), e.GetActor(), dash(e.GetRole()), method(e.GetAction(), a.out), e.GetTarget(), dash(e.GetReason()),
			dash(pairs(e.GetDetails())), a.moment(e.GetTime()))
		names = append(names, named{"audit", e.GetName()})
	}
	return a.show(result{
		message: &jv1.ListAuditEventsResponse{Events: events}, names: names,
		text: func() error { return a.showTable(t, "Nothing was changed yet.") },
	})
}

// method leaves the service's name out of an action where there is little room.
func method(action string, o output) string {
	if o == outputWide {
		return action
	}
	for i := len(action) - 1; i >= 0; i-- {
		if action[i] == '.' {
			return action[i+1:]
		}
	}
	return action
}
