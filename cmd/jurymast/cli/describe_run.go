package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/runs"
)

func (a *App) describeRun(ctx context.Context, id string) error {
	r, err := a.findRun(ctx, id)
	if err != nil {
		return err
	}
	return a.show(result{
		message: r, names: []named{{"run", r.GetName()}},
		text: func() error {
			api, err := a.api()
			if err != nil {
				return err
			}
			return a.print([]byte(a.renderRun(r, a.plansOf(ctx, api, []*jv1.Run{r})[planOf(r)])))
		},
	})
}

// renderRun shows a run; the plan, which may be nil, says what becomes of one that nobody answers.
func (a *App) renderRun(r *jv1.Run, plan *jv1.Runbook) string {
	state := word(r.GetState())
	waits := ""
	if r.GetState() == jv1.RunState_RUN_STATE_WAITING {
		lines := append(nonEmpty(a.unanswered(r, plan)), answers(r, r.GetName())...)
		waits = fmt.Sprintf("%s (since %s)\n%s", oneLine(waitText(r)), a.moment(r.GetWaitSince()), strings.Join(lines, "\n"))
	}
	if steps := runs.Waiting(r); waits == "" && len(steps) > 0 && r.GetState() == jv1.RunState_RUN_STATE_RUNNING {
		// Other branches act; these wait all the same.
		var lines []string
		for _, s := range steps {
			lines = append(lines, s.GetId()+": "+oneLine(s.GetWaitText()))
		}
		waits = strings.Join(append(lines, answers(r, r.GetName())...), "\n")
	}
	mode := ""
	if r.GetMode() != jv1.RunMode_RUN_MODE_LIVE && r.GetMode() != jv1.RunMode_RUN_MODE_UNSPECIFIED {
		mode = strings.ToLower(word(r.GetMode()))
	}
	tookText := took(r)
	if restored := r.GetRestoredTime(); restored.IsValid() && r.GetOnset().IsValid() {
		tookText = strings.TrimPrefix(tookText+fmt.Sprintf(", service restored %s after the first failure",
			restored.AsTime().Sub(r.GetOnset().AsTime()).Round(10*time.Millisecond)), ", ")
	}
	var b strings.Builder
	b.WriteString(a.renderFields(
		field{"Run", r.GetName()},
		field{"Runbook", fmt.Sprintf("%s, version %d", r.GetRunbook(), r.GetRunbookVersion())},
		field{"Service", r.GetService()},
		field{"Provider", r.GetProvider()},
		field{"State", a.paint.as(tintState(state), state)},
		field{"Mode", mode},
		field{"Waits for", waits},
		field{"Reason", oneLine(r.GetReason())},
		field{"Started by", r.GetActor()},
		field{"Trigger", strings.Join(append(nonEmpty(r.GetTrigger()), r.GetAttachedTriggers()...), ", ")},
		field{"Parameters", pairs(r.GetParameters())},
		field{"Started", a.momentInFull(r.GetCreateTime())},
		field{"Ended", endedText(a, r)},
		field{"Took", tookText},
		field{"Outcome", oneLine(r.GetOutcome())},
	))
	b.WriteString("\n")
	t := &table{columns: []column{
		{title: "STEP"},
		{title: "KIND"},
		{title: "STATE", tint: tintState},
		{title: "TRIES", right: true},
		{title: "TOOK", right: true},
		{title: "RESULT", elastic: true},
	}}
	depths := map[string]int{}
	for _, s := range r.GetSteps() {
		if s.GetParent() != "" {
			depths[s.GetId()] = depths[s.GetParent()] + 1
		}
		state := word(s.GetState())
		if state == "" {
			state = "PENDING"
		}
		tries := ""
		if s.GetAttemptCount() > 0 {
			tries = fmt.Sprint(s.GetAttemptCount())
		}
		t.add(strings.Repeat("  ", depths[s.GetId()])+s.GetId(), s.GetKind(), state, tries, stepTook(s), stepResult(s))
	}
	rendered := t.render(a.out == outputWide, a.paint)
	b.WriteString(rendered)
	for _, s := range r.GetSteps() {
		if e := oneLine(s.GetError()); e != "" && !strings.Contains(rendered, e) {
			b.WriteString("\n" + strings.Join(fold(s.GetId()+": "+e, screen), "\n  ") + "\n")
		}
		if e := oneLine(s.GetUndoing().GetError()); e != "" {
			b.WriteString("\n" + strings.Join(fold(s.GetId()+" could not be undone: "+e, screen), "\n  ") + "\n")
		}
	}
	return b.String()
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func endedText(a *App, r *jv1.Run) string {
	if !r.GetEndTime().IsValid() {
		return ""
	}
	return a.momentInFull(r.GetEndTime())
}

func stepTook(s *jv1.StepRun) string {
	if !s.GetStartTime().IsValid() || !s.GetEndTime().IsValid() {
		return ""
	}
	return s.GetEndTime().AsTime().Sub(s.GetStartTime().AsTime()).Round(time.Millisecond).String()
}

func stepResult(s *jv1.StepRun) string {
	text := s.GetError()
	if text == "" {
		text = stepOutput(s)
	}
	for _, d := range s.GetDecisions() {
		verb := "rejected"
		if d.GetApproved() {
			verb = "approved"
		}
		text = strings.TrimPrefix(fmt.Sprintf("%s; %s by %s: %s", text, verb, d.GetActor(), oneLine(d.GetComment())), "; ")
	}
	return text
}

// stepOutput shows what a step gave. Of a switch it is what it switched; when that was is told beside it.
func stepOutput(s *jv1.StepRun) string {
	out := s.GetOutput()
	if s.GetKind() == "drain_queue" && out["queued"] != "" {
		return drainOutput(out)
	}
	from, to := out["from"], out["to"]
	switch {
	case s.GetKind() != "switch_provider" || to == "":
		return pairs(out)
	case from == to:
		return "stays on " + to
	default:
		return from + " -> " + to
	}
}

// drainOutput says how far a drain is.
func drainOutput(out map[string]string) string {
	text := out["queued"] + " left"
	if out["queued"] != "0" {
		text += ", " + out["rate"]
	}
	if eta := out["eta"]; eta != "" {
		text += ", done in " + eta
		if _, err := time.ParseDuration(eta); err != nil {
			text = strings.TrimSuffix(text, "done in "+eta) + eta
		}
	}
	if parked := out["parked"]; parked != "" && parked != "0" {
		text += ", " + parked + " parked for a human"
	}
	if late := out["not_in_force"]; late != "" {
		text += ", not in force at " + late
	}
	if silent := out["silent"]; silent != "" {
		text += ", not heard of " + silent
	}
	return text
}

// describeTrigger finds a trigger by its id, or by a unique beginning or end of it.
func (a *App) describeTrigger(ctx context.Context, id string) error {
	api, err := a.api()
	if err != nil {
		return err
	}
	var found []*jv1.Trigger
	token := ""
	for {
		res, err := api.ListTriggers(ctx, &jv1.ListTriggersRequest{PageSize: maxPage, PageToken: token})
		if err != nil {
			return err
		}
		for _, t := range res.GetTriggers() {
			if matchesID(t.GetName(), id) {
				found = append(found, t)
			}
		}
		if token = res.GetNextPageToken(); token == "" {
			break
		}
	}
	switch {
	case len(found) == 0:
		return Exit(ExitNotFound, errors.New("there is no trigger "+quoted(id)))
	case len(found) > 1:
		return usage("%q fits %d triggers", id, len(found))
	}
	t := found[0]
	return a.show(result{
		message: t, names: []named{{"trigger", t.GetName()}},
		text: func() error { return a.print([]byte(a.renderTrigger(t))) },
	})
}

func (a *App) renderTrigger(t *jv1.Trigger) string {
	var outcomes, evidence []string
	for _, o := range t.GetOutcomes() {
		outcomes = append(outcomes, outcomeText(o))
	}
	for _, s := range t.GetEvidence() {
		evidence = append(evidence, signalText(s)+a.seen(s))
	}
	state := word(t.GetState())
	onset := ""
	if t.GetOnset().IsValid() {
		onset = a.momentInFull(t.GetOnset())
	}
	expires := ""
	if t.GetExpireTime().IsValid() && t.GetState() == jv1.TriggerState_TRIGGER_STATE_PENDING {
		expires = a.momentInFull(t.GetExpireTime())
	}
	return a.renderFields(
		field{"Trigger", t.GetName()},
		field{"State", a.paint.as(tintState(state), state)},
		field{"Service", t.GetService()},
		field{"Cause", cause(t)},
		field{"Reason", oneLine(t.GetReason())},
		field{"Asked by", t.GetActor()},
		field{"Stored", a.momentInFull(t.GetCreateTime())},
		field{"First failure", onset},
		field{"Expires", expires},
		field{"Became", strings.Join(outcomes, "\n")},
		field{"Evidence", strings.Join(evidence, "\n")},
	)
}
