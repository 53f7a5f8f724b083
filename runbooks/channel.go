package runbooks

import (
	"strings"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// ValidateChannel finds what is wrong with a channel.
func ValidateChannel(ch *jv1.Channel) (problems []*jv1.Problem, warnings []string) {
	r := newReport("channel", ch.GetName(), nil)
	validateChannel(r, ch)
	return r.problems, r.warnings
}

func validateChannel(r *report, ch *jv1.Channel) {
	if ch == nil {
		r.problem("", "must be given")
		return
	}
	r.rules(ch)
	checkAddress(r, "webhook.url", ch.GetWebhook().GetUrl())
	checkAddress(r, "slack.url", ch.GetSlack().GetUrl())
	checkAddress(r, "pagerduty.url", ch.GetPagerduty().GetUrl())
	if strings.HasPrefix(ch.GetSlack().GetUrl(), "http") {
		r.warn("the address of a Slack webhook is a secret: give a reference, env:NAME or file:/path")
	}
	if ch.GetWebhook() != nil && ch.GetWebhook().GetSecret() == "" {
		r.warn("without a secret the receiver can't tell our messages from others'")
	}
}

// checkAddress looks at an address that may be given plainly or by reference.
func checkAddress(r *report, field, address string) {
	if strings.HasPrefix(address, "env:") || strings.HasPrefix(address, "file:") {
		return
	}
	if problem := templateAddressProblem(address); problem != "" {
		problem, _, _ = strings.Cut(problem, ": use credential")
		r.problem(field, "%s", problem)
	}
}
