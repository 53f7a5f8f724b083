package steps

import (
	"fmt"
	"slices"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/message"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

const (
	// Reminder is how often people are told again that a run waits for them.
	Reminder = 15 * time.Minute
	// maxTold is the most channels that one question or reminder is written for in one transaction.
	maxTold = 16
	// maxWrites is how many writes a transaction may have with them, so that there is room for the run itself.
	maxWrites = 90
)

// Ask tells channels that the run waits for a human to approve. id tells this question from others of the run.
func Ask(in *Input, channels []string, id, question string) error {
	return ask(in, letter{
		id: id, step: in.At.GetId(), channels: channels, question: question, wait: jv1.RunWait_RUN_WAIT_APPROVAL,
	})
}

func ask(in *Input, l letter) error {
	if in.DryRun() || len(l.channels) == 0 {
		return nil
	}
	t, ok := message.Shipped("approval-needed")
	if !ok {
		return fmt.Errorf("the message approval-needed is not shipped")
	}
	l.template = t
	return post(in, l)
}

// askOnce asks those channels for whom the question is not in the outbox yet, whoever wrote it; told says how many. more
// says that there are more than fit into one transaction: it is to be called again in the next one. What can't be
// written now is due again at the next look.
func askOnce(in *Input, l letter) (told int, more bool) {
	if in.DryRun() {
		return 0, false
	}
	l.channels, more = untold(in, l)
	if len(l.channels) == 0 || ask(in, l) != nil {
		return 0, false
	}
	return len(l.channels), more
}

// untold are the channels for whom a message is not in the outbox, as many as there is room for in the transaction and
// at most maxTold of them. Only that it is not there yet is compared.
func untold(in *Input, l letter) (due []string, more bool) {
	room := min(maxTold, (maxWrites-in.Desk.Writes())/2) // a message and its delivery
	for _, c := range l.channels {
		if slices.Contains(due, c) {
			continue
		}
		key := store.OutboxKey(notificationID(in.Run, l.id, c))
		if store.Get[*jv1.Notification](in.Desk.View(), key).Msg != nil {
			continue
		}
		if continuity.Latest[*jv1.Notification](in.Desk, key) != nil {
			continue // another branch of the run told it a moment ago
		}
		if len(due) >= room {
			return due, true
		}
		due = append(due, c)
	}
	return due, false
}

// Attention tells the channels of the runbook that a run waits which nobody asked to: a step failed whose `on_failure` is
// pause, or the outcome of a call is not known. Approvals tell their own channels, and who paused a run knows.
func Attention(in *Input) (more bool) {
	l := waitLetter(in, fmt.Sprintf("attention-%d", in.Run.GetWaitSince().GetSeconds()))
	l.channels, l.question = Channels(in.Tree), in.Run.GetWaitText()
	_, more = askOnce(in, l)
	return more
}

// Remind tells every channel of the runbook for the n-th time that the run waits for a human; those of the escalation hear
// of it by [Escalate]. A reminder that is in the outbox already is left. It tells whether there are more channels than
// fit: then it is to be called again in the next transaction.
func Remind(in *Input, n int64) (more bool) {
	// The run may have waited before: the beginning of the wait tells its reminders from those of then.
	l := waitLetter(in, fmt.Sprintf("reminder-%d-%d", in.Run.GetWaitSince().GetSeconds(), n))
	l.channels = slices.DeleteFunc(Channels(in.Tree), func(c string) bool {
		return slices.Contains(in.Plan.GetEscalation().GetChannels(), c)
	})
	l.question = "still waiting since " + since(in) + ": " + in.Run.GetWaitText()
	_, more = askOnce(in, l)
	return more
}

// Escalate tells the channels of the runbook's escalation for the n-th time that nobody answers. It returns what it said,
// empty when that was said before, and whether there are more channels than fit, as [Remind] does.
func Escalate(in *Input, n int64) (text string, more bool) {
	l := waitLetter(in, fmt.Sprintf("escalation-%d-%d", in.Run.GetWaitSince().GetSeconds(), n))
	l.channels = in.Plan.GetEscalation().GetChannels()
	l.question = "nobody answered since " + since(in) + ": " + in.Run.GetWaitText()
	told, more := askOnce(in, l)
	if told == 0 {
		return "", more
	}
	return l.question, more
}

// waitLetter begins a message about a wait: of the run, or of a step of it while other branches act.
func waitLetter(in *Input, id string) letter {
	if step := in.At.GetId(); step != "" {
		id = step + "-" + id
	}
	return letter{id: id, step: in.At.GetId(), wait: in.Run.GetWait()}
}

func since(in *Input) string { return in.Run.GetWaitSince().AsTime().UTC().Format(time.RFC3339) }

// Slow tells the channels of the runbook that a step takes longer than it should, in words; once, as its record says so
// from then on.
func Slow(in *Input, text string) error {
	if in.DryRun() || len(Channels(in.Tree)) == 0 {
		return nil
	}
	t, err := message.ForStep(&jv1.NotifyStep{
		Title: "{{.Service}}: a step of {{.Runbook}} takes longer than expected", Severity: jv1.Severity_SEVERITY_WARNING,
		Text: "{{.Question}}\n\nService: {{.Service}}, routed to {{.Active | default \"no provider\"}}.\n" +
			"What happens next: the run {{.Run}} goes on; `jurymast run get {{.Run}}` shows where it stands.",
	})
	if err != nil {
		return fmt.Errorf("message of a slow step: %w", err)
	}
	l := letter{id: in.At.GetId() + "-slow", step: in.At.GetId(), channels: Channels(in.Tree), template: t, question: text}
	l.channels, _ = untold(in, l)
	return post(in, l)
}
