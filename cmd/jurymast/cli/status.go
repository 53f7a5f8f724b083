package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// picture is all that the status screen is made of.
type picture struct {
	info          *jv1.Info
	states        []*jv1.ContinuityState
	freshness     *jv1.Freshness
	health        []*jv1.Health
	runs          []*jv1.Run
	plans         map[planID]*jv1.Runbook // of the runs that wait
	triggers      []*jv1.Trigger
	automation    []*jv1.Automation
	notifications []*jv1.Notification
	incidents     []*jv1.Incident
	schedules     []*jv1.Schedule // that are not paused, the next one first
}

func (a *App) statusCommand() *cobra.Command {
	var watch bool
	every := 2 * time.Second
	cmd := &cobra.Command{
		Use:   "status [SERVICE...]",
		Short: "One screen: what is broken, what was done, what waits for you",
		Long: "One screen: for each service the phase, the route and since when, the health of its providers, who has the\n" +
			"route in force, and whether requests are queued; then the runs that wait for a human, with the command that\n" +
			"answers, the open incidents with the time of their next update, what is held back, what a schedule starts next,\n" +
			"and whether the machines are stopped.",
		Example: examples(
			"jurymast status", "everything",
			"jurymast status chat", "one service",
			"jurymast status --watch", "again and again, until Ctrl-C",
			"jurymast status -o json | jq -r '.continuity[] | select(.phase != \"PHASE_NORMAL\") | .service'", "services in trouble",
		),
		GroupID:           GroupLook,
		ValidArgsFunction: a.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !watch {
				return a.showStatus(cmd.Context(), args)
			}
			if every < 100*time.Millisecond {
				return usage("--interval must be 100ms or more")
			}
			return a.watchStatus(cmd.Context(), args, every)
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show it again and again, until Ctrl-C")
	cmd.Flags().DurationVar(&every, "interval", every, "with --watch: time between two looks")
	return cmd
}

func (a *App) showStatus(ctx context.Context, services []string) error {
	p, problems, err := a.lookAround(ctx)
	if err != nil {
		return err
	}
	if err := p.only(services); err != nil {
		return err
	}
	var names []named
	for _, s := range p.states {
		names = append(names, named{"service", s.GetService()})
	}
	if err := a.show(result{
		json: p.json, names: names,
		text: func() error { return a.print([]byte(a.renderStatus(p))) },
	}); err != nil {
		return err
	}
	a.warnOfSkew(p.info)
	for _, err := range problems {
		printFailure(a.Stderr, err)
	}
	if len(problems) > 0 {
		return Exit(codeOf(problems[0]), nil)
	}
	return nil
}

// watchStatus shows the screen until the user ends it. While no server answers, the last screen stands and says how old
// it is: a frozen screen that looks green is worse than none.
func (a *App) watchStatus(ctx context.Context, services []string, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last string
	var seen time.Time
	for {
		p, _, err := a.lookAround(ctx)
		if err == nil {
			err = p.only(services)
		}
		switch {
		case ctx.Err() != nil:
		case err == nil:
			last, seen = a.renderStatus(p), a.Now()
			err = a.redraw("as of "+seen.UTC().Format(time.TimeOnly)+" UTC", last)
		case passing(err) && !seen.IsZero():
			err = a.redraw(a.paint.as(tintBad, "STALE: seen "+a.ago(seen)+"; "+tidy(err.Error())), last)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// redraw shows a screen in place of the last one, or below it where there is no terminal.
func (a *App) redraw(head, body string) error {
	if isTerminal(a.Stdout) {
		head = "\x1b[H\x1b[2J" + head
	}
	return a.printf("%s\n\n%s\n", head, body)
}

// lookAround asks the server for everything. What it can't get is left out and told in problems, because half a screen
// is better than none at three in the morning.
func (a *App) lookAround(ctx context.Context) (p *picture, problems []error, err error) {
	api, err := a.api()
	if err != nil {
		return nil, nil, err
	}
	states, err := api.ListContinuity(ctx, &jv1.ListContinuityRequest{})
	if err != nil {
		return nil, nil, err
	}
	p = &picture{states: states.GetStates(), freshness: states.GetFreshness()}
	note := func(what string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", what, err))
		}
	}
	p.info, err = api.GetInfo(ctx, &jv1.GetInfoRequest{})
	note("the server itself", err)
	health, err := api.ListHealth(ctx, &jv1.ListHealthRequest{})
	note("health", err)
	p.health = health.GetHealth()
	runs, err := api.ListRuns(ctx, &jv1.ListRunsRequest{Live: true, PageSize: maxPage})
	note("runs", err)
	p.runs = runs.GetRuns()
	p.plans = a.plansOf(ctx, api, p.runs)
	triggers, err := api.ListTriggers(ctx, &jv1.ListTriggersRequest{Pending: true, PageSize: maxPage})
	note("triggers", err)
	p.triggers = triggers.GetTriggers()
	automation, err := api.GetAutomation(ctx, &jv1.GetAutomationRequest{})
	note("automation", err)
	p.automation = automation.GetAutomation()
	incidents, err := api.ListIncidents(ctx, &jv1.ListIncidentsRequest{Open: true, PageSize: maxPage})
	note("incidents", err)
	p.incidents = incidents.GetIncidents()
	notifications, err := api.ListNotifications(ctx, &jv1.ListNotificationsRequest{PageSize: 100})
	note("notifications", err)
	for _, n := range notifications.GetNotifications() {
		if undelivered(n) {
			p.notifications = append(p.notifications, n)
		}
	}
	schedules, err := scheduleKind().all(ctx, api)
	if status.Code(err) != codes.Unimplemented { // a server of an older version has none
		note("schedules", err)
	}
	p.schedules = upcoming(schedules)
	return p, problems, nil
}

// upcoming are the schedules that have a next time, in the order of these times.
func upcoming(resources []*jv1.Resource) []*jv1.Schedule {
	list := keep(unwrap(resources, (*jv1.Resource).GetSchedule), func(s *jv1.Schedule) bool { return s.GetNextTime().IsValid() })
	slices.SortStableFunc(list, func(a, b *jv1.Schedule) int { return a.GetNextTime().AsTime().Compare(b.GetNextTime().AsTime()) })
	return list
}

// maxPage is the most that a list returns at once.
const maxPage = 1000

// undelivered tells a message that did not reach its people: given up, or refused at least once.
func undelivered(n *jv1.Notification) bool {
	return n.GetState() == jv1.DeliveryState_DELIVERY_STATE_DEAD ||
		n.GetState() == jv1.DeliveryState_DELIVERY_STATE_PENDING && n.GetLastError() != ""
}

// only keeps what is about the named services.
func (p *picture) only(services []string) error {
	if len(services) == 0 {
		return nil
	}
	wanted := map[string]bool{}
	for _, s := range services {
		wanted[s] = true
	}
	p.states = keep(p.states, func(s *jv1.ContinuityState) bool { return wanted[s.GetService()] })
	p.health = keep(p.health, func(h *jv1.Health) bool { return wanted[h.GetService()] })
	p.runs = keep(p.runs, func(r *jv1.Run) bool { return wanted[r.GetService()] })
	p.triggers = keep(p.triggers, func(t *jv1.Trigger) bool { return wanted[t.GetService()] })
	p.automation = keep(p.automation, func(x *jv1.Automation) bool { return x.GetService() == "" || wanted[x.GetService()] })
	p.notifications = keep(p.notifications, func(n *jv1.Notification) bool { return wanted[n.GetService()] })
	// One that names no service is for the only one of its runbook, which isn't known here.
	p.schedules = keep(p.schedules, func(s *jv1.Schedule) bool { return s.GetService() == "" || wanted[s.GetService()] })
	p.incidents = keep(p.incidents, func(i *jv1.Incident) bool {
		return slices.ContainsFunc(i.GetServices(), func(s string) bool { return wanted[s] })
	})
	for _, s := range p.states {
		delete(wanted, s.GetService())
	}
	for _, s := range services {
		if wanted[s] {
			return Exit(ExitNotFound, errors.New("there is no service "+quoted(s)))
		}
	}
	return nil
}

func keep[T any](in []T, wanted func(T) bool) []T {
	var out []T
	for _, x := range in {
		if wanted(x) {
			out = append(out, x)
		}
	}
	return out
}

func quoted(s string) string { return fmt.Sprintf("%q", s) }

func (p *picture) json() ([]byte, error) {
	parts := []part{
		{name: "continuity", many: messages(p.states)},
		{name: "health", many: messages(p.health)},
		{name: "runs", many: messages(p.runs)},
		{name: "triggers", many: messages(p.triggers)},
		{name: "automation", many: messages(p.automation)},
		{name: "incidents", many: messages(p.incidents)},
		{name: "undelivered_notifications", many: messages(p.notifications)},
		{name: "schedules", many: messages(p.schedules)},
	}
	if p.freshness != nil {
		parts = append(parts, part{name: "freshness", one: p.freshness})
	}
	if p.info != nil {
		parts = append(parts, part{name: "info", one: p.info})
	}
	return compose(parts...)
}
