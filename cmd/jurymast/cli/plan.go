package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/manifest"
)

func (a *App) planCommand() *cobra.Command {
	req := &jv1.PlanRunbookRequest{}
	var files, params []string
	var offline bool
	cmd := &cobra.Command{
		Use:   "plan [RUNBOOK] [-f FILE]",
		Short: "Show what a run would do if it started now: guards and steps",
		Example: examples(
			"jurymast plan ai-provider-outage", "a stored runbook",
			"jurymast plan -f new.yaml --service chat", "one that is not stored yet, against what is",
			"jurymast plan -f new.yaml --offline", "only its steps, without a server",
		),
		GroupID: GroupDeclare,
		Args:    atMostArgs("RUNBOOK"), ValidArgsFunction: a.completeRunbooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := strings.Join(args, "")
			var err error
			if req.Parameters, err = parameters(params); err != nil {
				return err
			}
			if len(files) == 0 {
				switch {
				case offline:
					return usage("--offline wants a file, -f")
				case name == "":
					return usage("RUNBOOK is missing, or -f")
				}
				req.Name = name
				return a.plan(cmd.Context(), req, nil)
			}
			documents, err := a.load(files)
			if err != nil {
				return asMistakes(err)
			}
			document, err := onlyRunbook(documents, name)
			if err != nil {
				return err
			}
			req.Runbook = document.Resource.GetRunbook()
			if offline {
				if problems, _ := runbooks.Validate(req.GetRunbook(), nil); len(problems) > 0 {
					return mistakes(manifest.Problems([]manifest.Document{document}, inFirstRunbook(problems)))
				}
				return a.showPlan(runbooks.Outline(req.GetRunbook(), amongDocuments(documents)), true)
			}
			return a.plan(cmd.Context(), req, []manifest.Document{document})
		},
	}
	filesFlag(cmd, &files)
	cmd.Flags().StringVar(&req.Service, "service", "", "service the run would be for; by default the runbook's first")
	cmd.Flags().StringArrayVarP(&params, "param", "p", nil, "parameter as `name=value`; may be repeated")
	cmd.Flags().BoolVar(&offline, "offline", false, "ask no server; guards are not looked at")
	return cmd
}

// amongDocuments finds runbooks that others run in the same files.
func amongDocuments(documents []manifest.Document) func(string) *jv1.Runbook {
	return func(name string) *jv1.Runbook {
		for _, d := range documents {
			if rb := d.Resource.GetRunbook(); rb.GetName() == name && rb != nil {
				return rb
			}
		}
		return nil
	}
}

// onlyRunbook finds the runbook of a name among documents, or the only one.
func onlyRunbook(documents []manifest.Document, name string) (manifest.Document, error) {
	found := keep(documents, func(d manifest.Document) bool {
		rb := d.Resource.GetRunbook()
		return rb != nil && (name == "" || rb.GetName() == name)
	})
	if len(found) != 1 {
		return manifest.Document{}, usage("the files hold %s; name the one to plan", count(len(found), "such runbook", "such runbooks"))
	}
	return found[0], nil
}

// inFirstRunbook turns problems of a runbook into those of a list that holds only it.
func inFirstRunbook(problems []*jv1.Problem) []*jv1.Problem {
	out := make([]*jv1.Problem, 0, len(problems))
	for _, p := range problems {
		field := "resources[0].runbook"
		if p.GetField() != "" {
			field += "." + strings.TrimPrefix(p.GetField(), "runbook.")
		}
		out = append(out, &jv1.Problem{Field: field, Message: p.GetMessage()})
	}
	return out
}

func (a *App) plan(ctx context.Context, req *jv1.PlanRunbookRequest, documents []manifest.Document) error {
	api, err := a.api()
	if err != nil {
		return err
	}
	plan, err := api.PlanRunbook(ctx, req)
	if err != nil {
		if problems := problemsOf(err); len(problems) > 0 && len(documents) > 0 {
			return mistakes(manifest.Problems(documents, inFirstRunbook(problems)))
		}
		return err
	}
	return a.showPlan(plan, false)
}

func (a *App) showPlan(p *jv1.Plan, offline bool) error {
	var names []named
	for _, s := range p.GetSteps() {
		names = append(names, named{"step", s.GetId()})
	}
	return a.show(result{message: p, names: names, text: func() error {
		head := p.GetRunbook()
		if p.GetService() != "" {
			head += " for " + p.GetService()
		}
		switch {
		case offline:
			head += ": guards not looked at"
		case p.GetWouldStart():
			head += ": " + a.paint.as(tintGood, "would start by itself now")
		default:
			head += ": " + a.paint.as(tintDoubt, "would not start by itself now")
		}
		if err := a.printf("%s\n", head); err != nil {
			return err
		}
		if p.GetGuard() != "" {
			if err := a.printf("  %s: %s\n", p.GetGuard(), oneLine(p.GetDetail())); err != nil {
				return err
			}
		}
		for _, l := range planLines(p) {
			if err := a.printf("%s\n", l); err != nil {
				return err
			}
		}
		return a.printf("At most %s when nothing is retried.\n", count(int(p.GetMaxTransactions()), "transaction", "transactions"))
	}})
}

// planLines shows the steps of a plan, one after the other.
func planLines(p *jv1.Plan) []string {
	width := 0
	ids, depths := make([]string, 0, len(p.GetSteps())), map[string]int{}
	for _, s := range p.GetSteps() {
		if s.GetParent() != "" {
			depths[s.GetId()] = depths[s.GetParent()] + 1
		}
		ids = append(ids, strings.Repeat("  ", depths[s.GetId()])+s.GetId())
		width = max(width, len(ids[len(ids)-1]))
	}
	var lines []string
	for i, s := range p.GetSteps() {
		summary := oneLine(s.GetSummary())
		if s.GetFused() {
			summary += "  [at once, with the start]"
		}
		lines = append(lines, fmt.Sprintf("%2d. %-*s  %s", i+1, width, ids[i], summary))
		indent := strings.Repeat(" ", 4+width+2)
		if s.GetCondition() != "" {
			lines = append(lines, indent+"if "+oneLine(s.GetCondition()))
		}
		if s.GetCompensation() != "" {
			lines = append(lines, indent+"undone by: "+oneLine(s.GetCompensation()))
		}
	}
	return lines
}
