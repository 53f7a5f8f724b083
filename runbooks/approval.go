package runbooks

import (
	"slices"
	"strings"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

const (
	// DefaultApproval is how long an approval waits when its step has no timeout.
	DefaultApproval = 24 * time.Hour
	// longestWarning bounds the warning before an approval's timeout that doesn't say.
	longestWarning = 15 * time.Minute
	// rolePrefix begins an approver that is not a principal but everybody of a role.
	rolePrefix = "role:"
)

// approverRoles may answer a run; viewers may not.
var approverRoles = []string{"operator", "admin"}

// ApprovalWarning is how long before the timeout of an approval people are warned.
func ApprovalWarning(spec *jv1.ApprovalStep, timeout time.Duration) time.Duration {
	if d := spec.GetWarnBefore(); d != nil {
		return d.AsDuration()
	}
	return min(timeout/10, longestWarning)
}

// ApproverRole returns the role that an approver names, as in `role:admin`; ok is false for a principal.
func ApproverRole(approver string) (role string, ok bool) {
	return strings.CutPrefix(approver, rolePrefix)
}

func checkApproval(s *stepCheck) {
	approval := s.step.GetApproval()
	s.channels(s.field("channels"), approval.GetChannels())
	s.checkApprovers(approval)
	if approval.GetOnTimeout() == jv1.TimeoutAction_TIMEOUT_ACTION_ESCALATE && len(approval.GetChannels()) == 0 &&
		len(s.rb.GetEscalation().GetChannels()) == 0 {
		s.problem(s.field("on_timeout"), "escalate tells the step's channels and those of the runbook's escalation: give channels")
	}
	timeout := DefaultApproval
	if d := s.step.GetTimeout(); d != nil {
		timeout = d.AsDuration()
	}
	if warn := approval.GetWarnBefore(); warn != nil && warn.AsDuration() >= timeout {
		s.problem(s.field("warn_before"), "a warning %s before the timeout of %s would come before the question: give less",
			words(warn.AsDuration()), words(timeout))
	}
	if approval.GetWarnBefore() != nil && len(approval.GetChannels()) == 0 {
		s.warn("%s: there are no channels to warn", s.field("warn_before"))
	}
}

// checkApprovers makes sure that enough people can approve. How many hold a role is not known here.
func (s *stepCheck) checkApprovers(approval *jv1.ApprovalStep) {
	approvers := approval.GetApprovers()
	anyRole := false
	for i, name := range approvers {
		field := at(s.field("approvers"), i)
		role, isRole := ApproverRole(name)
		anyRole = anyRole || isRole
		switch {
		case name == "":
			s.problem(field, "a principal has a name")
		case slices.Contains(approvers[:i], name):
			s.problem(field, "%s is listed before", name)
		case isRole && !slices.Contains(approverRoles, role):
			s.problem(field, "nobody can answer by the role %q: want role:operator or role:admin", role)
		}
	}
	n := len(approvers)
	if n == 0 || anyRole {
		return
	}
	count := int(max(1, approval.GetCount()))
	switch {
	case count > n:
		s.problem(s.field("count"), "%d must approve, but only %d may", count, n)
	case approval.GetExcludeStarter() && n == 1:
		s.problem(s.field("exclude_starter"), "when %s starts the run nobody may approve it: name more approvers", approvers[0])
	case approval.GetExcludeStarter() && count > n-1:
		s.problem(s.field("exclude_starter"), "%d must approve, and when one of the %d approvers starts the run only %d may: name more approvers",
			count, n, n-1)
	}
}

// checkEscalation looks at who is told when nobody answers.
func (c *runbookCheck) checkEscalation() {
	c.channels("escalation.channels", c.rb.GetEscalation().GetChannels())
}
