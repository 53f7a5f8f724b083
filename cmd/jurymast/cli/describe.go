package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
)

func (a *App) describeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "describe KIND[/NAME] [NAME]",
		Short: "Show one thing with all that belongs to it",
		Long: "Show one provider, service, detector, channel, runbook, schedule, maintenance window, the settings, a run or a trigger\n" +
			"with all that belongs to it: what it is, what is true of it now, who refers to it, what happened.",
		Example: examples(
			"jurymast describe service chat", "route, health, who has it in force, runbooks, the last runs",
			"jurymast describe run 7f3k2m", "why it started, and its steps",
			"jurymast describe incident 4kd0q2", "what people were told, and when they hear more",
		),
		GroupID:           GroupLook,
		ValidArgsFunction: a.completeKindNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, names, err := kindAndNames(args)
			if err != nil {
				return err
			}
			if len(names) != 1 {
				return usage("want one NAME of a %s", kind)
			}
			ctx := cmd.Context()
			switch kind {
			case "run", "runs":
				return a.describeRun(ctx, names[0])
			case "trigger", "triggers":
				return a.describeTrigger(ctx, names[0])
			case "incident", "incidents":
				return a.describeIncident(ctx, names[0])
			}
			k, ok := kindOf(kind)
			if !ok {
				return usage("there is no kind %q; there are %s, incident, trigger and run", kind, strings.Join(kindNames(), ", "))
			}
			return a.describeResource(ctx, k, names[0])
		},
	}
}

// description is what describe shows of a resource beside itself.
type description struct {
	*App
	api      *api
	catalog  *runbooks.Catalog
	resource *jv1.Resource
	blocks   []string
}

func (d *description) add(block string) {
	if block != "" {
		d.blocks = append(d.blocks, block)
	}
}

func (d *description) section(title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	d.add(d.paint.as(tintBold, title) + "\n  " + strings.Join(lines, "\n  ") + "\n")
}

func (a *App) describeResource(ctx context.Context, k resourceKind, name string) error {
	api, err := a.api()
	if err != nil {
		return err
	}
	r, err := k.get(ctx, api, name)
	if err != nil {
		return err
	}
	d := &description{App: a, api: api, resource: r}
	if a.out == outputTable || a.out == outputWide {
		if d.catalog, err = catalogOf(ctx, api); err != nil {
			return err
		}
		if err := d.describe(ctx, k); err != nil {
			return err
		}
	}
	return a.show(result{
		message: inner(r), names: []named{{k.name, name}},
		yaml: func() ([]byte, error) { return manifestOf([]*jv1.Resource{r}) },
		text: func() error { return a.print([]byte(strings.Join(d.blocks, "\n"))) },
	})
}

func (d *description) describe(ctx context.Context, k resourceKind) error {
	name := runbooks.NameOf(d.resource)
	switch k.name {
	case "service":
		if err := d.service(ctx, d.resource.GetService()); err != nil {
			return err
		}
	case "runbook":
		d.runbook(d.resource.GetRunbook())
	case "provider":
		if err := d.provider(ctx, d.resource.GetProvider()); err != nil {
			return err
		}
	default:
		var fields []field
		for i, cell := range k.cells(d.App, d.resource) {
			fields = append(fields, field{title(k.columns[i].title), cell})
		}
		d.add(d.renderFields(fields...))
	}
	d.section("Used by", runbooks.Referrers(k.name, name, d.catalog))
	if k.name != "service" && k.name != "runbook" {
		return nil
	}
	req := &jv1.ListRunsRequest{PageSize: 5}
	if k.name == "service" {
		req.Service = name
	} else {
		req.Runbook = name
	}
	res, err := d.api.ListRuns(ctx, req)
	if err != nil {
		return err
	}
	var lines []string
	for _, r := range res.GetRuns() {
		lines = append(lines, fmt.Sprintf("%s  %s for %s, %s, %s", r.GetName(), r.GetRunbook(), r.GetService(), word(r.GetState()), d.moment(r.GetCreateTime())))
	}
	d.section("Last runs", lines)
	return nil
}

// title turns a column's title into the name of a field.
func title(column string) string {
	text := strings.ToLower(strings.ReplaceAll(column, "_", " "))
	return strings.ToUpper(text[:1]) + text[1:]
}

func (d *description) service(ctx context.Context, s *jv1.Service) error {
	res, err := d.api.GetContinuity(ctx, &jv1.GetContinuityRequest{Service: s.GetName()})
	if err != nil {
		return err
	}
	st := res.GetState()
	phase := word(st.GetPhase())
	fields := []field{
		{"Service", s.GetName()},
		{"Description", s.GetDescription()},
		{"Phase", d.paint.as(tintState(phase), phase)},
		{"Route", dash(st.GetActiveProvider())},
		{"Weights", pairs(st.GetWeights())},
		{"Since", d.momentInFull(st.GetSince())},
		{"Reason", oneLine(st.GetReason())},
		{"Set by", strings.TrimSpace(st.GetActor() + " " + st.GetRun())},
		{"Before", st.GetPreviousProvider()},
		{"Epoch", fmt.Sprint(st.GetEpoch())},
		{"Queueing", onOff(st.GetQueueing())},
		{"Drain", drainText(d.App, st.GetDrain())},
		{"Failing when", failingRule(s)},
		{"Needs", strings.Join(s.GetNeeds(), ", ")},
	}
	if st.GetProvisional() {
		fields = append(fields, field{"Note", "the switch is not confirmed yet"})
	}
	if st.GetBreakGlass() {
		fields = append(fields, field{"Note", "a human overruled a guard; machines leave the service alone until " + liftGlass(s.GetName())})
	}
	d.add(d.renderFields(fields...))
	health, err := d.api.ListHealth(ctx, &jv1.ListHealthRequest{Service: s.GetName()})
	if err != nil {
		return err
	}
	d.section("Providers, the preferred one first", d.healthLines(serviceProviders(s), health.GetHealth()))
	var inForce []string
	for _, f := range st.GetInForce() {
		line := fmt.Sprintf("%s  epoch %d, %s", f.GetSubscriber(), f.GetEpoch(), d.moment(f.GetReportTime()))
		if q := f.GetQueue(); q != nil {
			line += fmt.Sprintf(", %d queued, %d being sent, %d parked", q.GetQueued(), q.GetSending(), q.GetParked())
		}
		switch why := foreign(st, f); {
		case why != "":
			line += d.paint.as(tintDoubt, "  NOT IN FORCE: "+why)
		case f.GetEpoch() < st.GetEpoch():
			line += d.paint.as(tintDoubt, "  BEHIND")
		}
		inForce = append(inForce, line)
	}
	d.section("In force at", inForce)
	triggers, err := d.api.ListTriggers(ctx, &jv1.ListTriggersRequest{Service: s.GetName(), Pending: true, PageSize: 10})
	if err != nil {
		return err
	}
	var held []string
	for _, t := range triggers.GetTriggers() {
		for _, o := range t.GetOutcomes() {
			held = append(held, t.GetName()+"  "+outcomeText(o))
		}
	}
	d.section("Held back", held)
	return nil
}

func drainText(a *App, d *jv1.Drain) string {
	if d == nil {
		return ""
	}
	return fmt.Sprintf("from %s on, since %s, for run %s", d.GetStartRate(), a.moment(d.GetSince()), dash(d.GetRun()))
}

func (d *description) healthLines(providers []string, health []*jv1.Health) []string {
	byName := map[string]*jv1.Health{}
	for _, h := range health {
		byName[h.GetProvider()] = h
	}
	var lines []string
	for _, p := range providers {
		h := byName[p]
		state := word(h.GetState())
		if state == "" {
			state = "UNKNOWN"
		}
		line := p + "  " + d.paint.as(tintState(state), state)
		if h != nil {
			line += fmt.Sprintf(" since %s (%s)", d.moment(h.GetSince()), h.GetReason())
		}
		lines = append(lines, line)
		for _, s := range h.GetEvidence() {
			lines = append(lines, "  "+signalText(s)+d.seen(s))
		}
	}
	return lines
}

// seen says how long ago a signal was seen.
func (a *App) seen(s *jv1.Signal) string {
	if !s.GetObservedAt().IsValid() {
		return ""
	}
	return ", seen " + a.ago(s.GetObservedAt().AsTime())
}

func (d *description) provider(ctx context.Context, p *jv1.Provider) error {
	d.add(d.renderFields(
		field{"Provider", p.GetName()},
		field{"Vendor", p.GetVendor()},
		field{"Base URL", p.GetBaseUrl()},
		field{"Credential", dash(p.GetCredential())},
		field{"Sent as", p.GetAuthHeader()},
		field{"Capabilities", strings.Join(p.GetCapabilities(), ", ")},
		field{"Headers", pairs(p.GetHeaders())},
		field{"Query", pairs(p.GetQuery())},
		field{"Stored", d.momentInFull(p.GetUpdateTime())},
	))
	res, err := d.api.ListHealth(ctx, &jv1.ListHealthRequest{})
	if err != nil {
		return err
	}
	var lines []string
	for _, h := range res.GetHealth() {
		if h.GetProvider() == p.GetName() {
			w := word(h.GetState())
			lines = append(lines, fmt.Sprintf("for %s  %s since %s (%s)", h.GetService(), d.paint.as(tintState(w), w), d.moment(h.GetSince()), h.GetReason()))
		}
	}
	d.section("Health", lines)
	return nil
}

func (d *description) runbook(rb *jv1.Runbook) {
	objective := ""
	if rb.GetObjective().GetRto() != nil {
		objective = "service restored within " + rb.GetObjective().GetRto().AsDuration().String()
	}
	d.add(d.renderFields(
		field{"Runbook", rb.GetName()},
		field{"Description", rb.GetDescription()},
		field{"Services", strings.Join(rb.GetServices(), ", ")},
		field{"Starts on", startsOn(rb)},
		field{"Automation", automationLevel(rb)},
		field{"Objective", objective},
		field{"Version", fmt.Sprintf("%d, stored %s", rb.GetVersion(), d.momentInFull(rb.GetUpdateTime()))},
	))
	d.section("Steps", planLines(runbooks.Outline(rb, nil)))
}
