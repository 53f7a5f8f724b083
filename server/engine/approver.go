package engine

import (
	"fmt"
	"slices"
	"strings"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/server/audit"
	"github.com/jurymast/jurymast/server/auth"
)

// mayDecide refuses who is not an approver, a second answer of the same person, and, where the plan says so, the approval
// of whoever started the run: a human, or the client that fired its trigger. That one may still reject.
func mayDecide(run *jv1.Run, spec *jv1.ApprovalStep, at *jv1.StepRun, who audit.Caller, approve bool) error {
	if list := spec.GetApprovers(); len(list) > 0 && !slices.ContainsFunc(list, func(a string) bool { return isApprover(a, who) }) {
		return fmt.Errorf("%s may not answer, only %s may: %w", who.Principal, strings.Join(list, ", "), ErrForbidden)
	}
	for _, d := range at.GetDecisions() {
		if d.GetActor() == who.Principal {
			return fmt.Errorf("%s has answered already, somebody else has to: %w", who.Principal, ErrNotPossible)
		}
	}
	if spec.GetExcludeStarter() && approve && run.GetActor() == who.Principal && run.GetActor() != audit.Machine {
		return fmt.Errorf("%s started the run and may not approve it, somebody else has to: %w", who.Principal, ErrForbidden)
	}
	return nil
}

// isApprover tells whether an approver of a plan is the caller: by name, or by a role that the caller's covers.
func isApprover(approver string, who audit.Caller) bool {
	word, isRole := runbooks.ApproverRole(approver)
	if !isRole {
		return approver == who.Principal
	}
	needed, err := auth.ParseRole(word)
	has, herr := auth.ParseRole(who.Role)
	return err == nil && herr == nil && has.Covers(needed)
}
