package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
)

func (a *App) getCommand() *cobra.Command {
	var revision int64
	var blocked bool
	cmd := &cobra.Command{
		Use:   "get KIND[/NAME] [NAME...]",
		Short: "Show what is declared: providers, services, detectors, channels, runbooks, schedules, triggers, all",
		Long: "Show what is declared. KIND is provider, service, detector, channel, runbook, schedule, maintenance or settings, or\n" +
			"`all` of them; beside these `triggers`, `runs` and `incidents` are listed, too. `-o yaml` prints files that `jurymast apply` takes.",
		Example: examples(
			"jurymast get services", "all services",
			"jurymast get runbook ai-provider-outage -o yaml", "one runbook as a file",
			"jurymast get triggers --blocked", "what guards hold back, and why",
			"jurymast get schedules", "when what starts next",
			"jurymast get incidents", "what people are told about, newest first",
			"jurymast get all -o yaml > backup.yaml", "everything, to be applied elsewhere",
			"jurymast get runbook/fail-back --version 3 -o yaml", "an older version",
		),
		GroupID:           GroupDeclare,
		ValidArgsFunction: a.completeKindNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, names, err := kindAndNames(args)
			if err != nil {
				return err
			}
			if blocked && kind != "trigger" && kind != "triggers" {
				return usage("--blocked is for triggers")
			}
			switch kind {
			case "all":
				return a.getAll(cmd.Context())
			case "run", "runs":
				if len(names) == 1 {
					return a.describeRun(cmd.Context(), names[0])
				}
				runs, err := a.listRuns(cmd.Context(), &jv1.ListRunsRequest{}, 50)
				if err != nil {
					return err
				}
				return a.showRuns(runs)
			case "trigger", "triggers":
				if blocked {
					return a.getBlocked(cmd.Context(), names)
				}
				return a.getTriggers(cmd.Context(), names)
			case "incident", "incidents":
				if len(names) == 1 {
					return a.describeIncident(cmd.Context(), names[0])
				}
				if len(names) > 1 {
					return usage("want one NAME of an incident, or none for all")
				}
				return a.getIncidents(cmd.Context())
			}
			k, ok := kindOf(kind)
			if !ok {
				return usage("there is no kind %q; there are %s, triggers, runs, incidents and all", kind, strings.Join(kindNames(), ", "))
			}
			if revision != 0 {
				return a.getRunbookVersion(cmd.Context(), k, names, revision)
			}
			return a.getResources(cmd.Context(), k, names)
		},
	}
	cmd.Flags().Int64Var(&revision, "version", 0, "older `version` of a runbook; zero: the newest")
	cmd.Flags().BoolVar(&blocked, "blocked", false, "only triggers that a guard holds back, with guard and reason for each runbook")
	return cmd
}

// kindAndNames reads `KIND [NAME...]` or `KIND/NAME...`, all of one kind.
func kindAndNames(args []string) (kind string, names []string, err error) {
	if len(args) == 0 {
		return "", nil, usage("KIND is missing; there are %s, triggers, runs, incidents and all", strings.Join(kindNames(), ", "))
	}
	kind, name, slash := strings.Cut(args[0], "/")
	if !slash {
		return kind, args[1:], nil
	}
	names = append(names, name)
	for _, arg := range args[1:] {
		other, name, slash := strings.Cut(arg, "/")
		if !slash || other != kind {
			return "", nil, usage("%q: want %s/NAME, like the others", arg, kind)
		}
		names = append(names, name)
	}
	return kind, names, nil
}

func (a *App) getResources(ctx context.Context, k resourceKind, names []string) error {
	api, err := a.api()
	if err != nil {
		return err
	}
	var list []*jv1.Resource
	if len(names) == 0 {
		if list, err = k.all(ctx, api); err != nil {
			return err
		}
	}
	for _, n := range names {
		r, err := k.get(ctx, api, n)
		if err != nil {
			return err
		}
		list = append(list, r)
	}
	return a.showResources(k, list, len(names) == 1)
}

func (a *App) getRunbookVersion(ctx context.Context, k resourceKind, names []string, version int64) error {
	if k.name != "runbook" || len(names) != 1 {
		return usage("--version wants the name of one runbook")
	}
	api, err := a.api()
	if err != nil {
		return err
	}
	rb, err := api.GetRunbook(ctx, &jv1.GetRunbookRequest{Name: names[0], Version: version})
	if err != nil {
		return err
	}
	return a.showResources(k, []*jv1.Resource{{Kind: &jv1.Resource_Runbook{Runbook: rb}}}, true)
}

func (a *App) showResources(k resourceKind, list []*jv1.Resource, single bool) error {
	t := &table{columns: k.columns}
	var names []named
	for _, r := range list {
		t.add(k.cells(a, r)...)
		names = append(names, named{k.name, runbooks.NameOf(r)})
	}
	message := func() proto.Message {
		if single {
			return inner(list[0])
		}
		return k.list(list)
	}
	return a.show(result{
		message: message(), names: names,
		yaml: func() ([]byte, error) { return manifestOf(list) },
		text: func() error { return a.showTable(t, "There are no "+k.plural+".") },
	})
}

// getAll shows every resource, kind by kind.
func (a *App) getAll(ctx context.Context) error {
	api, err := a.api()
	if err != nil {
		return err
	}
	var everything []*jv1.Resource
	var parts []part
	var names []named
	var tables []*table
	for _, k := range kinds() {
		list, err := k.all(ctx, api)
		if err != nil {
			return err
		}
		// Settings that nobody declared are defaults, which need not be carried elsewhere.
		list = keep(list, func(r *jv1.Resource) bool { return r.GetSettings() == nil || r.GetSettings().GetRevision() != 0 })
		everything = append(everything, list...)
		p := part{name: k.plural}
		t := &table{columns: k.columns}
		for _, r := range list {
			p.many = append(p.many, inner(r))
			names = append(names, named{k.name, runbooks.NameOf(r)})
			t.add(k.cells(a, r)...)
		}
		parts, tables = append(parts, p), append(tables, t)
	}
	return a.show(result{
		names: names,
		json:  func() ([]byte, error) { return compose(parts...) },
		yaml:  func() ([]byte, error) { return manifestOf(everything) },
		text: func() error {
			tables = keep(tables, func(t *table) bool { return len(t.rows) > 0 })
			if len(tables) == 0 {
				a.say("Nothing is declared yet.")
			}
			for i, t := range tables {
				if i > 0 {
					if err := a.printf("\n"); err != nil {
						return err
					}
				}
				if err := a.showTable(t, ""); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

// getTriggers lists triggers, or those of the given services.
func (a *App) getTriggers(ctx context.Context, services []string) error {
	api, err := a.api()
	if err != nil {
		return err
	}
	list, err := triggersOf(ctx, api, services, false)
	if err != nil {
		return err
	}
	t := &table{columns: []column{
		{title: "TRIGGER"}, {title: "SERVICE"}, {title: "CAUSE"}, {title: "STATE", tint: tintState}, {title: "BECAME", elastic: true}, {title: "AGE"},
	}}
	var names []named
	for _, tr := range list {
		var became []string
		for _, o := range tr.GetOutcomes() {
			if a.out == outputWide {
				became = append(became, outcomeText(o))
				continue
			}
			became = append(became, strings.TrimSpace(word(o.GetState())+" "+o.GetGuard()))
		}
		t.add(tr.GetName(), tr.GetService(), cause(tr), word(tr.GetState()), dash(strings.Join(became, "; ")), a.moment(tr.GetCreateTime()))
		names = append(names, named{"trigger", tr.GetName()})
	}
	return a.show(result{
		message: &jv1.ListTriggersResponse{Triggers: list}, names: names,
		text: func() error { return a.showTable(t, "Nothing asked for a run yet.") },
	})
}

// triggersOf asks for the newest triggers of services, or of all; blocked: for those that are held back.
func triggersOf(ctx context.Context, api *api, services []string, blocked bool) (list []*jv1.Trigger, err error) {
	if len(services) == 0 {
		services = []string{""}
	}
	for _, s := range services {
		res, err := api.ListTriggers(ctx, &jv1.ListTriggersRequest{Service: s, Blocked: blocked, PageSize: 100})
		if err != nil {
			return nil, err
		}
		list = append(list, res.GetTriggers()...)
	}
	return list, nil
}

// getBlocked lists what guards hold back: a line for each runbook of a trigger.
func (a *App) getBlocked(ctx context.Context, services []string) error {
	api, err := a.api()
	if err != nil {
		return err
	}
	list, err := triggersOf(ctx, api, services, true)
	if err != nil {
		return err
	}
	t := &table{columns: []column{
		{title: "TRIGGER", wide: true},
		{title: "SERVICE"},
		{title: "CAUSE", wide: true},
		{title: "RUNBOOK"},
		{title: "GUARD"},
		{title: "WHY", elastic: true},
		{title: "SINCE"},
	}}
	var names []named
	for _, tr := range list {
		for _, o := range tr.GetOutcomes() {
			if o.GetState() == jv1.OutcomeState_OUTCOME_STATE_BLOCKED {
				t.add(tr.GetName(), tr.GetService(), cause(tr), o.GetRunbook(), o.GetGuard(), dash(oneLine(o.GetDetail())), a.moment(o.GetTime()))
			}
		}
		names = append(names, named{"trigger", tr.GetName()})
	}
	return a.show(result{
		message: &jv1.ListTriggersResponse{Triggers: list}, names: names,
		text: func() error { return a.showTable(t, "No guard holds anything back.") },
	})
}

func cause(t *jv1.Trigger) string {
	text := strings.ToLower(word(t.GetCause()))
	if t.GetProvider() != "" && t.GetHealth() != jv1.HealthState_HEALTH_STATE_UNSPECIFIED {
		text = fmt.Sprintf("%s %s", t.GetProvider(), strings.ToLower(word(t.GetHealth())))
	}
	if t.GetSchedule() != "" {
		text += " " + t.GetSchedule()
	}
	return text
}

// completeKindNames completes a kind, then the names of its resources.
func (a *App) completeKindNames(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return append(kindNames(), "triggers", "runs", "incidents", "all"), cobra.ShellCompDirectiveNoFileComp
	}
	k, ok := kindOf(args[0])
	if !ok {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeAt(len(args), func(ctx context.Context, api *api, _ []string) ([]string, error) {
		page, _, err := k.page(ctx, api, maxPage, "")
		return unwrap(page, runbooks.NameOf), err
	})(cmd, args, part)
}
