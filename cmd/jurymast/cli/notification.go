package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func (a *App) notificationsCommand() *cobra.Command {
	var run string
	var limit int
	var failed bool
	cmd := &cobra.Command{
		Use:     "notifications",
		Aliases: []string{"notification"},
		Short:   "Show what people were told, newest first",
		Example: examples(
			"jurymast notifications", "the newest",
			"jurymast notifications --undelivered", "those that did not reach their people",
			"jurymast notifications --run 7f3k2m -o wide", "those of one run, with what the receivers answered",
		),
		GroupID: GroupLook,
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			req := &jv1.ListNotificationsRequest{}
			if run != "" {
				r, err := a.findRun(cmd.Context(), run)
				if err != nil {
					return err
				}
				req.Run = r.GetName()
			}
			list, err := a.listNotifications(cmd.Context(), req, limit)
			if err != nil {
				return err
			}
			if failed {
				list = keep(list, undelivered)
			}
			return a.showNotifications(list)
		},
	}
	cmd.Flags().StringVar(&run, "run", "", "only those of this `run`")
	cmd.Flags().BoolVar(&failed, "undelivered", false, "only those that did not reach their people")
	cmd.Flags().IntVar(&limit, "limit", 50, "most notifications to look at")
	return cmd
}

func (a *App) listNotifications(ctx context.Context, req *jv1.ListNotificationsRequest, limit int) ([]*jv1.Notification, error) {
	api, err := a.api()
	if err != nil {
		return nil, err
	}
	var list []*jv1.Notification
	err = eachPage(limit, func(size int32, token string) (string, int, error) {
		req.PageSize, req.PageToken = size, token
		res, err := api.ListNotifications(ctx, req)
		list = append(list, res.GetNotifications()...)
		return res.GetNextPageToken(), len(list), err
	})
	return list, err
}

func (a *App) showNotifications(list []*jv1.Notification) error {
	t := &table{columns: []column{
		{title: "NOTIFICATION", wide: true},
		{title: "CHANNEL"},
		{title: "STATE", tint: tintState},
		{title: "SERVICE"},
		{title: "TITLE", elastic: true},
		{title: "RUN", wide: true},
		{title: "TRIES", wide: true, right: true},
		{title: "LAST_ERROR", wide: true},
		{title: "RECEIPT", wide: true},
		{title: "AGE"},
	}}
	var names []named
	for _, n := range list {
		t.add(n.GetName(), n.GetChannel(), word(n.GetState()), dash(n.GetService()), n.GetTitle(), dash(n.GetRun()),
			fmt.Sprint(n.GetAttempts()), dash(n.GetLastError()), dash(n.GetReceipt()), a.moment(n.GetCreateTime()))
		names = append(names, named{"notification", n.GetName()})
	}
	return a.show(result{
		message: &jv1.ListNotificationsResponse{Notifications: list}, names: names,
		text: func() error { return a.showTable(t, "Nobody was told anything.") },
	})
}
