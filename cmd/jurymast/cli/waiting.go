package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/runs"
)

// waiting lists the runs that wait for a human: the question, the commands that answer, and what happens when nobody does.
func (s *statusScreen) waiting() {
	waiting := keep(s.runs, func(r *jv1.Run) bool {
		return r.GetState() == jv1.RunState_RUN_STATE_WAITING || len(runs.Waiting(r)) > 0 // other branches of it may act
	})
	if len(waiting) == 0 {
		return
	}
	s.heading("Waiting for you")
	for _, r := range waiting {
		s.fold("  ", fmt.Sprintf("%s for %s, since %s: %s", r.GetRunbook(), r.GetService(), s.moment(waitSince(r)), oneLine(waitText(r))))
		if next := s.unanswered(r, s.plans[planOf(r)]); next != "" {
			s.fold("    ", next)
		}
		for _, c := range answers(r, s.shortID(r.GetName())) {
			s.line("    %s", s.paint.as(tintBold, c))
		}
	}
}

// waitSince is since when a run, or the first of its steps that do, waits for a human.
func waitSince(r *jv1.Run) *timestamppb.Timestamp {
	if steps := runs.Waiting(r); r.GetWaitSince() == nil && len(steps) > 0 {
		return steps[0].GetStartTime()
	}
	return r.GetWaitSince()
}

func waitText(r *jv1.Run) string {
	if r.GetWaitText() != "" {
		return r.GetWaitText()
	}
	if steps := runs.Waiting(r); len(steps) > 0 && steps[0].GetWaitText() != "" {
		return steps[0].GetWaitText()
	}
	return strings.ToLower(strings.ReplaceAll(word(r.GetWait()), "_", " "))
}

// answers are the command lines by which a human answers a run that waits, or the steps of it that do when there are
// several.
func answers(r *jv1.Run, id string) []string {
	steps := runs.Waiting(r)
	if runs.Held(r) || len(steps) < 2 && r.GetWait() != jv1.RunWait_RUN_WAIT_UNSPECIFIED {
		return runs.Answers(r.GetWait(), id)
	}
	var out []string
	for _, s := range steps {
		for _, line := range runs.Answers(runs.WaitOf(r, s), id) {
			if !strings.Contains(line, "run cancel") {
				line = strings.Replace(line, id, id+" "+s.GetId(), 1)
			}
			if !slices.Contains(out, line) {
				out = append(out, line)
			}
		}
	}
	return out
}

// planID names the revision of a runbook that runs were created from.
type planID struct {
	runbook string
	version int64
}

func planOf(r *jv1.Run) planID { return planID{r.GetRunbook(), r.GetRunbookVersion()} }

// plansOf asks for the plans of the runs that wait. What can't be had is left out: the question and its answer are told
// without.
func (a *App) plansOf(ctx context.Context, api *api, list []*jv1.Run) map[planID]*jv1.Runbook {
	plans := map[planID]*jv1.Runbook{}
	for _, r := range list {
		id := planOf(r)
		if _, known := plans[id]; known || r.GetState() != jv1.RunState_RUN_STATE_WAITING {
			continue
		}
		plans[id] = nil
		if plan, err := api.GetRunbook(ctx, &jv1.GetRunbookRequest{Name: id.runbook, Version: id.version}); err == nil {
			plans[id] = plan
		}
	}
	return plans
}

// unanswered says what happens when nobody answers a run that waits, and when. The plan may be nil.
func (a *App) unanswered(r *jv1.Run, plan *jv1.Runbook) string {
	if r.GetCancelRequested() {
		return "it is being canceled"
	}
	var out []string
	if r.GetPauseRequested() {
		out = append(out, "after the answer it is held, as a human paused it")
	}
	for _, s := range r.GetSteps() {
		if s.GetKind() != "approval" || s.GetState() != jv1.StepState_STEP_STATE_WAITING || !s.GetDeadline().IsValid() {
			continue
		}
		if consequence := onTimeout(plan, s.GetId()); consequence != "" {
			out = append(out, a.ahead(s.GetDeadline().AsTime())+" "+consequence)
		}
	}
	if next := nextEscalation(r, plan, a.Now()); !next.IsZero() {
		out = append(out, a.ahead(next)+" "+tellsWhom(plan.GetEscalation().GetChannels()))
	}
	if len(out) == 0 {
		return ""
	}
	return "unless answered: " + strings.Join(out, "; ")
}

func tellsWhom(channels []string) string {
	if len(channels) == 1 {
		return channels[0] + " is told"
	}
	return strings.Join(channels, ", ") + " are told"
}

// onTimeout says what the end of an approval's time does. Empty: not known.
func onTimeout(plan *jv1.Runbook, step string) string {
	for _, s := range plan.GetSteps() {
		if s.GetId() != step || s.GetApproval() == nil {
			continue
		}
		switch s.GetApproval().GetOnTimeout() {
		case jv1.TimeoutAction_TIMEOUT_ACTION_APPROVE:
			return "it counts as approved"
		case jv1.TimeoutAction_TIMEOUT_ACTION_ESCALATE:
			return "it is escalated and goes on waiting"
		default:
			return "it counts as rejected"
		}
	}
	return ""
}

// nextEscalation is when the channels of a runbook's escalation are told next; the zero time: never.
func nextEscalation(r *jv1.Run, plan *jv1.Runbook, now time.Time) time.Time {
	if plan.GetEscalation() == nil || !r.GetWaitSince().IsValid() {
		return time.Time{}
	}
	after, since := runs.EscalationAfter(plan), r.GetWaitSince().AsTime()
	return since.Add(max(0, now.Sub(since)).Truncate(after) + after)
}

// ahead shows when something will be.
func (a *App) ahead(t time.Time) string {
	switch times(a.flags.times) {
	case timesUTC:
		return "at " + t.UTC().Format(time.RFC3339)
	case timesLocal:
		return "at " + t.Local().Format(time.RFC3339)
	default:
		return "in " + age(t.Sub(a.Now()))
	}
}
