package cli

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// renderStatus lays the status screen out. What makes everything else less true comes first, what waits for the reader
// is never below a screenful of green.
func (a *App) renderStatus(p *picture) string {
	s := &statusScreen{App: a, picture: p}
	s.caveats()
	s.waiting()
	s.openIncidents()
	s.services()
	s.acting()
	s.heldBack()
	s.unheard()
	s.scheduled()
	if len(p.states) == 0 {
		s.line("There are no services yet: `jurymast apply -f FILE` declares them.")
	}
	return s.b.String()
}

type statusScreen struct {
	*App
	*picture
	b strings.Builder
}

func (s *statusScreen) line(format string, args ...any) {
	s.b.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n")
}

// fold writes a text in lines of at most a screen's width, the later ones further in.
func (s *statusScreen) fold(indent, text string) {
	for i, l := range fold(text, screen-len(indent)-2) {
		if i == 1 {
			indent += "  "
		}
		s.line("%s%s", indent, l)
	}
}

func (s *statusScreen) heading(format string, args ...any) {
	if s.b.Len() > 0 {
		s.b.WriteByte('\n')
	}
	s.line("%s", s.paint.as(tintBold, fmt.Sprintf(format, args...)))
}

// restoredFrom says how old the backup is that the store was made from, where that is known.
func restoredFrom(s *statusScreen, o *jv1.ObserveOnly) string {
	if !o.GetBackupTime().IsValid() {
		return ""
	}
	return "; the backup is of " + s.momentInFull(o.GetBackupTime())
}

// caveats says what makes the rest of the screen less than the truth.
func (s *statusScreen) caveats() {
	if f := s.freshness; f != nil && !f.GetLive() {
		s.line("%s", s.paint.as(tintBad, "STALE: the server lost its store; all below is what it knew "+s.ago(f.GetAsOf().AsTime())))
	}
	if o := s.info.GetObserveOnly(); o != nil {
		s.line("%s", s.paint.as(tintBad, "OBSERVE ONLY since "+s.moment(o.GetSince())+": nothing is started, executed or sent."))
		s.fold("  ", oneLine(o.GetDetail())+restoredFrom(s, o))
		s.fold("  ", "Look at what is true, then: jurymast restore confirm --reason ...")
	}
	for _, x := range s.automation {
		if x.GetOn() {
			continue
		}
		where := "everywhere"
		if x.GetService() != "" {
			where = "for " + x.GetService()
		}
		s.line("%s", s.paint.as(tintBad, fmt.Sprintf("AUTOMATION IS OFF %s, since %s (%s: %s)",
			where, s.moment(x.GetTime()), dash(x.GetActor()), oneLine(x.GetReason()))))
	}
}

// shortID is the shortest end of a run's id, of at least six letters, that no other live run has.
func (s *statusScreen) shortID(id string) string {
	for n := 6; n < len(id); n++ {
		tail := id[len(id)-n:]
		if !slices.ContainsFunc(s.runs, func(r *jv1.Run) bool { return r.GetName() != id && strings.HasSuffix(r.GetName(), tail) }) {
			return tail
		}
	}
	return id
}

// services shows each service in a few lines: what is true, what its providers are like, why.
func (s *statusScreen) services() {
	if len(s.states) == 0 {
		return
	}
	if s.b.Len() > 0 {
		s.b.WriteByte('\n')
	}
	name, phase := 0, 0
	for _, st := range s.states {
		name = max(name, utf8.RuneCountInString(st.GetService()))
		phase = max(phase, len(word(st.GetPhase())))
	}
	for _, st := range s.states {
		w := word(st.GetPhase())
		head := fmt.Sprintf("%-*s  %s%s  %s", name, st.GetService(), s.paint.as(tintState(w), w), strings.Repeat(" ", phase-len(w)), s.route(st))
		s.line("%s", head)
		indent := strings.Repeat(" ", name+2)
		for _, l := range wrap(s.providers(st), screen-len(indent)) {
			s.line("%s%s", indent, s.tintHealth(l))
		}
		if st.GetPhase() != jv1.Phase_PHASE_NORMAL && st.GetReason() != "" {
			s.fold(indent, "why: "+oneLine(st.GetReason()))
		}
		if st.GetBreakGlass() {
			s.fold(indent, "break-glass: machines leave it alone until "+liftGlass(st.GetService()))
		}
		if q := queueText(st); q != "" {
			s.fold(indent, q)
		}
		for _, l := range inForceLines(st, screen-len(indent)) {
			s.line("%s%s", indent, s.paint.as(tintDoubt, l))
		}
	}
}

// route says where a service's requests go.
func (s *statusScreen) route(st *jv1.ContinuityState) string {
	route := dash(st.GetActiveProvider())
	if len(st.GetWeights()) > 0 {
		route += " (" + pairs(st.GetWeights()) + " %)"
	}
	parts := []string{route + " since " + s.moment(st.GetSince())}
	if st.GetProvisional() {
		parts = append(parts, s.paint.as(tintDoubt, "not confirmed"))
	}
	if st.GetBreakGlass() {
		parts = append(parts, s.paint.as(tintDoubt, "break-glass"))
	}
	parts = append(parts, "in force "+inForce(st))
	if st.GetQueueing() {
		parts = append(parts, s.paint.as(tintBad, "QUEUEING since "+s.moment(st.GetQueueingSince())))
	}
	return strings.Join(parts, ", ")
}

// liftGlass says what ends a break-glass.
func liftGlass(service string) string {
	return "`jurymast ack " + service + "`, an undo, or a switch through the guards"
}

// providers shows the health of a service's providers in the order of preference.
func (s *statusScreen) providers(st *jv1.ContinuityState) []string {
	names := slices.Clone(st.GetProviders())
	byName := map[string]*jv1.Health{}
	for _, h := range s.health {
		if h.GetService() != st.GetService() {
			continue
		}
		byName[h.GetProvider()] = h
		if !slices.Contains(names, h.GetProvider()) {
			names = append(names, h.GetProvider())
		}
	}
	out := make([]string, 0, len(names))
	for _, n := range names {
		h := byName[n]
		if h == nil {
			out = append(out, n+" UNKNOWN")
			continue
		}
		out = append(out, fmt.Sprintf("%s %s %s", n, word(h.GetState()), s.moment(h.GetSince())))
	}
	return out
}

// wrap joins texts with commas into lines of at most width letters.
func wrap(texts []string, width int) []string {
	var lines []string
	for _, t := range texts {
		if n := len(lines) - 1; n >= 0 && utf8.RuneCountInString(lines[n])+2+utf8.RuneCountInString(t) <= width {
			lines[n] += ", " + t
			continue
		}
		lines = append(lines, t)
	}
	return lines
}

// tintHealth colours the words for health in a line.
func (s *statusScreen) tintHealth(line string) string {
	if !s.paint.on {
		return line
	}
	words := strings.Split(line, " ")
	for i, w := range words {
		if i > 0 && w == strings.ToUpper(w) {
			words[i] = s.paint.as(tintState(w), w)
		}
	}
	return strings.Join(words, " ")
}

// acting lists the runs that act by themselves.
func (s *statusScreen) acting() {
	acting := keep(s.runs, func(r *jv1.Run) bool { return r.GetState() != jv1.RunState_RUN_STATE_WAITING })
	if len(acting) == 0 {
		return
	}
	s.heading("Running")
	for _, r := range acting {
		w := word(r.GetState())
		s.line("  %s  %s for %s, since %s, %s", s.shortID(r.GetName()), r.GetRunbook(), r.GetService(), s.moment(r.GetCreateTime()), s.paint.as(tintState(w), progress(r)))
	}
}

// progress says how far a run is.
func progress(r *jv1.Run) string {
	for i, st := range r.GetSteps() {
		switch st.GetState() {
		case jv1.StepState_STEP_STATE_RUNNING, jv1.StepState_STEP_STATE_WAITING, jv1.StepState_STEP_STATE_RETRYING, jv1.StepState_STEP_STATE_OUTCOME_UNKNOWN:
			return fmt.Sprintf("%s at step %d of %d (%s)", word(r.GetState()), i+1, len(r.GetSteps()), st.GetId())
		}
	}
	return word(r.GetState())
}

// heldBack counts what wanted to start and was not let.
func (s *statusScreen) heldBack() {
	counts := map[string]int{}
	for _, t := range s.triggers {
		counts[t.GetService()]++
	}
	if len(counts) == 0 {
		return
	}
	s.heading("Held back")
	for _, service := range sortedKeys(counts) {
		s.line("  %s of %s: `jurymast why-not %s` says why", count(counts[service], "trigger", "triggers"), service, service)
	}
}

// scheduled lists what schedules start next.
func (s *statusScreen) scheduled() {
	if len(s.schedules) == 0 {
		return
	}
	s.heading("Scheduled")
	const most = 3
	for i, x := range s.schedules {
		if i == most {
			s.line("  and %d more: `jurymast get schedules`", len(s.schedules)-most)
			break
		}
		text := fmt.Sprintf("%s starts %s %s", x.GetName(), x.GetRunbook(), s.ago(x.GetNextTime().AsTime()))
		if n := x.GetMissed(); n > 0 {
			text += ", " + count(int(n), "time was missed", "times were missed")
		}
		s.fold("  ", text)
	}
}

// unheard lists the messages that did not reach their people.
func (s *statusScreen) unheard() {
	if len(s.notifications) == 0 {
		return
	}
	s.heading("Not delivered")
	const most = 5
	for i, n := range s.notifications {
		if i == most {
			s.line("  and %d more: `jurymast notifications`", len(s.notifications)-most)
			break
		}
		s.fold("  ", fmt.Sprintf("%s to %s: %s", oneLine(n.GetTitle()), n.GetChannel(), oneLine(n.GetLastError())))
	}
}
