package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func (a *App) runCommand() *cobra.Command {
	cmd := a.group(&cobra.Command{
		Use:     "run",
		Aliases: []string{"runs"},
		Short:   "Start, follow and steer runs of runbooks",
		Long: "Start, follow and steer runs of runbooks.\n\n" +
			"A run is named by its id, or by any beginning or end of it that no other run has.",
		Example: examples(
			"jurymast run start fail-back --reason 'openai is back' --wait", "start a runbook and wait for its end",
			"jurymast run list --live", "what runs now",
			"jurymast run watch 7f3k2m", "follow a run until it ends",
		),
		GroupID: GroupSteer,
	})
	cmd.AddCommand(a.runStartCommand(), a.runListCommand(), a.runGetCommand(), a.runWatchCommand(), a.runEventsCommand(),
		a.runCancelCommand(), a.runPauseCommand(), a.runResumeCommand(),
		a.runSkipCommand(), a.runRetryCommand())
	return cmd
}

func (a *App) runStartCommand() *cobra.Command {
	req := &jv1.StartRunRequest{}
	var params []string
	var mode string
	var wait waitFlags
	cmd := &cobra.Command{
		Use:   "start RUNBOOK --reason TEXT",
		Short: "Start a runbook",
		Example: examples(
			"jurymast run start fail-back --reason 'openai is back'", "start it for its only service",
			"jurymast run start ai-provider-outage --service chat -p region=eu --reason drill --mode drill --wait --timeout 10m",
			"rehearse with a parameter; wait ten minutes at most",
			"jurymast run start fail-back --reason check --dry-run", "only ask whether the guards would let it start",
		),
		Args:              exactArgs("RUNBOOK"),
		ValidArgsFunction: a.completeRunbooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			req.Runbook, req.RequestId = args[0], requestID()
			if req.Parameters, err = parameters(params); err != nil {
				return err
			}
			if req.Mode, err = parseMode(mode); err != nil {
				return err
			}
			return a.startRun(cmd.Context(), req, wait)
		},
	}
	cmd.Flags().StringVar(&req.Service, "service", "", "service to run for; may be left out when the runbook has one only")
	cmd.Flags().StringArrayVarP(&params, "param", "p", nil, "parameter as `name=value`; may be repeated")
	cmd.Flags().StringVar(&mode, "mode", "live", "how real it is: live, drill or dry-run")
	cmd.Flags().BoolVar(&req.ValidateOnly, "dry-run", false, "only check the guards, start nothing")
	reasonFlag(cmd, &req.Reason)
	wait.register(cmd, "wait until the run ends or waits for a human; the exit status says which")
	return cmd
}

func parseMode(mode string) (jv1.RunMode, error) {
	switch mode {
	case "live":
		return jv1.RunMode_RUN_MODE_LIVE, nil
	case "drill":
		return jv1.RunMode_RUN_MODE_DRILL, nil
	case "dry-run":
		return jv1.RunMode_RUN_MODE_DRY_RUN, nil
	default:
		return 0, usage("--mode is %q, want live, drill or dry-run", mode)
	}
}

// parameters reads `name=value` pairs.
func parameters(in []string) (map[string]string, error) {
	if len(in) == 0 {
		return nil, nil
	}
	out := make(map[string]string, len(in))
	for _, p := range in {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, usage("parameter %q: want name=value", p)
		}
		if _, twice := out[name]; twice {
			return nil, usage("parameter %s is given twice", name)
		}
		out[name] = value
	}
	return out, nil
}

// requestID makes a change known again to the server when it is repeated.
func requestID() string { return "cli-" + rand.Text() }

func (a *App) startRun(ctx context.Context, req *jv1.StartRunRequest, wait waitFlags) error {
	api, err := a.api()
	if err != nil {
		return err
	}
	run, err := api.StartRun(ctx, req)
	if err != nil {
		return err
	}
	if req.GetValidateOnly() {
		return a.did(run, named{"runbook", req.GetRunbook()}, "would start now")
	}
	if !wait.wait {
		return a.did(run, named{"run", run.GetName()}, "started")
	}
	a.say("run/%s started", run.GetName())
	return a.waitForRun(ctx, run.GetName(), wait)
}

func (a *App) runListCommand() *cobra.Command {
	req := &jv1.ListRunsRequest{}
	var limit int
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List runs, newest first",
		Example: examples(
			"jurymast run list", "the newest",
			"jurymast run list --live --service chat", "those of a service that have not ended",
		),
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			runs, err := a.listRuns(cmd.Context(), req, limit)
			if err != nil {
				return err
			}
			return a.showRuns(runs)
		},
	}
	cmd.Flags().StringVar(&req.Service, "service", "", "only runs for this service")
	cmd.Flags().StringVar(&req.Runbook, "runbook", "", "only runs of this runbook")
	cmd.Flags().BoolVar(&req.Live, "live", false, "only runs that have not ended")
	cmd.Flags().IntVar(&limit, "limit", 50, "most runs to list")
	return cmd
}

// listRuns returns at most limit runs that fit, newest first.
func (a *App) listRuns(ctx context.Context, req *jv1.ListRunsRequest, limit int) ([]*jv1.Run, error) {
	api, err := a.api()
	if err != nil {
		return nil, err
	}
	var runs []*jv1.Run
	err = eachPage(limit, func(size int32, token string) (string, int, error) {
		req.PageSize, req.PageToken = size, token
		res, err := api.ListRuns(ctx, req)
		runs = append(runs, res.GetRuns()...)
		return res.GetNextPageToken(), len(runs), err
	})
	return runs, err
}

// eachPage asks for pages until limit is reached or the list ends. fetch returns the next token and how many there are
// by now.
func eachPage(limit int, fetch func(size int32, token string) (string, int, error)) error {
	if limit < 1 {
		return usage("--limit must be 1 or more")
	}
	token, have := "", 0
	for have < limit {
		next, n, err := fetch(int32(min(limit-have, maxPage)), token)
		if err != nil || next == "" {
			return err
		}
		token, have = next, n
	}
	return nil
}

func (a *App) showRuns(runs []*jv1.Run) error {
	t := &table{columns: []column{
		{title: "RUN"},
		{title: "RUNBOOK", elastic: true},
		{title: "SERVICE"},
		{title: "STATE", tint: tintState},
		{title: "MODE", wide: true},
		{title: "STARTED_BY", wide: true},
		{title: "REASON", wide: true},
		{title: "OUTCOME", wide: true},
		{title: "TOOK", wide: true},
		{title: "AGE"},
	}}
	var names []named
	for _, r := range runs {
		state := word(r.GetState())
		if r.GetMode() == jv1.RunMode_RUN_MODE_DRILL {
			state += " (drill)"
		}
		t.add(r.GetName(), r.GetRunbook(), r.GetService(), state, strings.ToLower(word(r.GetMode())), r.GetActor(), r.GetReason(),
			dash(r.GetOutcome()), dash(took(r)), a.moment(r.GetCreateTime()))
		names = append(names, named{"run", r.GetName()})
	}
	return a.show(result{
		message: &jv1.ListRunsResponse{Runs: runs}, names: names,
		text: func() error { return a.showTable(t, "There are no runs.") },
	})
}

// took is how long a run took; empty while it has not ended.
func took(r *jv1.Run) string {
	if !r.GetEndTime().IsValid() {
		return ""
	}
	return r.GetEndTime().AsTime().Sub(r.GetCreateTime().AsTime()).Round(time.Millisecond).String()
}

func (a *App) runGetCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "get RUN",
		Aliases: []string{"describe", "show"},
		Short:   "Show a run: why it started, its steps, what it waits for",
		Example: examples("jurymast run get 7f3k2m", "by the end of its id"),
		Args:    exactArgs("RUN"), ValidArgsFunction: a.completeRuns,
		RunE: func(cmd *cobra.Command, args []string) error { return a.describeRun(cmd.Context(), args[0]) },
	}
}

// findRun resolves a run's id, or a unique beginning or end of one.
func (a *App) findRun(ctx context.Context, id string) (*jv1.Run, error) {
	api, err := a.api()
	if err != nil {
		return nil, err
	}
	id = strings.TrimPrefix(id, "run/")
	run, err := api.GetRun(ctx, &jv1.GetRunRequest{Name: id})
	if err == nil || codeOf(err) != ExitNotFound {
		return run, err
	}
	notFound := err
	var found []*jv1.Run
	token := ""
	for {
		page, err := api.ListRuns(ctx, &jv1.ListRunsRequest{PageSize: maxPage, PageToken: token})
		if err != nil {
			return nil, err
		}
		for _, r := range page.GetRuns() {
			if matchesID(r.GetName(), id) {
				found = append(found, r)
			}
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	switch len(found) {
	case 0:
		return nil, notFound
	case 1:
		return found[0], nil
	}
	names := make([]string, 0, len(found))
	for _, r := range found {
		names = append(names, r.GetName())
	}
	const most = 5
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("and %d more", len(found)-most))
	}
	return nil, usage("%q fits several runs: %s", id, strings.Join(names, ", "))
}

// matchesID tells whether part is a beginning of a run's id, with or without its prefix, or an end of it.
func matchesID(name, part string) bool {
	_, bare, _ := strings.Cut(name, "-")
	return strings.HasPrefix(name, part) || strings.HasPrefix(bare, part) || strings.HasSuffix(name, part)
}

func (a *App) runEventsCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "events RUN",
		Short:   "Show what happened in a run, oldest first",
		Example: examples("jurymast run events 7f3k2m", "by the end of its id"),
		Args:    exactArgs("RUN"), ValidArgsFunction: a.completeRuns,
		RunE: func(cmd *cobra.Command, args []string) error {
			run, err := a.findRun(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			events, err := a.runEvents(cmd.Context(), run.GetName(), 0)
			if err != nil {
				return err
			}
			return a.showEvents(run, events)
		},
	}
}

// runEvents returns what happened in a run after an event.
func (a *App) runEvents(ctx context.Context, run string, after int64) ([]*jv1.RunEvent, error) {
	api, err := a.api()
	if err != nil {
		return nil, err
	}
	var out []*jv1.RunEvent
	for {
		res, err := api.ListRunEvents(ctx, &jv1.ListRunEventsRequest{Run: run, After: after})
		if err != nil {
			return nil, err
		}
		out = append(out, res.GetEvents()...)
		if !res.GetMore() || len(res.GetEvents()) == 0 {
			return out, nil
		}
		after = out[len(out)-1].GetSequence()
	}
}

func (a *App) showEvents(run *jv1.Run, events []*jv1.RunEvent) error {
	var names []named
	for _, e := range events {
		names = append(names, named{"event", fmt.Sprint(e.GetSequence())})
	}
	return a.show(result{
		message: &jv1.ListRunEventsResponse{Events: events}, names: names,
		text: func() error {
			if len(events) == 0 {
				return errors.New("the run has no events")
			}
			for _, e := range events {
				if err := a.print([]byte(a.eventLine(run, e))); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

// eventLine shows an event: the time, how long after the run's creation, where and what.
func (a *App) eventLine(run *jv1.Run, e *jv1.RunEvent) string {
	since := e.GetTime().AsTime().Sub(run.GetCreateTime().AsTime())
	at := e.GetTime().AsTime().UTC()
	if times(a.flags.times) == timesLocal {
		at = at.Local()
	}
	kind := word(e.GetKind())
	what := oneLine(e.GetMessage())
	if what == "" {
		what = strings.ToLower(strings.ReplaceAll(kind, "_", " "))
	}
	if e.GetStep() != "" {
		what = e.GetStep() + ": " + what
	}
	if e.GetActor() != "" && e.GetActor() != "jurymast" {
		what += " (" + e.GetActor() + ")"
	}
	return fmt.Sprintf("%s  %+8.1fs  %s\n", at.Format(time.TimeOnly), max(since, 0).Seconds(), a.paint.as(tintEvent(e.GetKind()), what))
}

func tintEvent(k jv1.RunEventKind) tint {
	switch k {
	case jv1.RunEventKind_RUN_EVENT_KIND_STEP_SUCCEEDED:
		return tintGood
	case jv1.RunEventKind_RUN_EVENT_KIND_STEP_FAILED, jv1.RunEventKind_RUN_EVENT_KIND_OUTCOME_UNKNOWN:
		return tintBad
	case jv1.RunEventKind_RUN_EVENT_KIND_WAITING, jv1.RunEventKind_RUN_EVENT_KIND_ATTEMPT_FAILED,
		jv1.RunEventKind_RUN_EVENT_KIND_CANDIDATE_FAILED, jv1.RunEventKind_RUN_EVENT_KIND_COMPENSATING:
		return tintDoubt
	case jv1.RunEventKind_RUN_EVENT_KIND_STEP_SKIPPED, jv1.RunEventKind_RUN_EVENT_KIND_CLAIMED:
		return tintFaint
	default:
		return tintNone
	}
}
