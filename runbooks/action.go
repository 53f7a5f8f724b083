package runbooks

import (
	"fmt"
	"slices"
	"strings"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"

	"github.com/jurymast/jurymast/runbooks/message"
)

// defaultInterval is that of a probe that doesn't say, defaultConfirm the time a switch has to be confirmed in.
const (
	defaultInterval = 15 * time.Second
	defaultConfirm  = time.Minute
)

func checkSwitch(s *stepCheck) {
	to := s.step.GetSwitchProvider().GetTo()
	for i, name := range to {
		field := at(s.field("to"), i)
		switch {
		case slices.Contains(to[:i], name):
			s.problem(field, "%s is listed before", name)
		case name == "any" && i < len(to)-1:
			s.problem(field, "any stands for all providers: list nothing after it")
		case name != "any" && name != "preferred":
			s.provider(field, name)
			s.capable(field, name)
		}
	}
	for _, service := range s.services {
		if len(service.GetProviders()) == 1 {
			s.warn("%s: %s has one provider, there is nothing to switch to", s.path, service.GetName())
		}
	}
	s.hopeless()
	if confirm := s.step.GetSwitchProvider().GetConfirm(); confirm != nil {
		s.checkConfirm(confirm)
	}
}

// capable warns when a candidate lacks what a service needs: the guard will pass it over.
func (s *stepCheck) capable(field, name string) {
	for _, service := range s.services {
		for _, why := range s.unfit(service, name) {
			s.warn("%s: %s: it will be passed over", field, why)
		}
	}
}

// unfit says why a provider can never be switched to, whatever its health.
func (s *stepCheck) unfit(service *jv1.Service, name string) (why []string) {
	for _, need := range lacks(s.catalog.Providers[name], service.GetNeeds()) {
		why = append(why, fmt.Sprintf("%s needs %s, which %s does not offer", service.GetName(), need, name))
	}
	if short := Shortage(service, name); short != "" {
		why = append(why, short)
	}
	if other := OtherModels(service, name); other != "" {
		why = append(why, fmt.Sprintf("%s keeps its models, but %s", service.GetName(), other))
	}
	return why
}

// hopeless warns when no candidate of a switch can ever pass.
func (s *stepCheck) hopeless() {
	for _, service := range s.services {
		fit := func(word string) bool {
			switch word {
			case "any":
				return slices.ContainsFunc(providerNames(service), func(p string) bool { return len(s.unfit(service, p)) == 0 })
			case "preferred":
				return len(service.GetProviders()) > 0 && len(s.unfit(service, service.GetProviders()[0].GetName())) == 0
			}
			return len(s.unfit(service, word)) == 0
		}
		if to := s.step.GetSwitchProvider().GetTo(); len(to) > 0 && !slices.ContainsFunc(to, fit) {
			s.warn("%s: for %s every candidate will be passed over, so the step can only fail", s.field("to"), service.GetName())
		}
	}
}

func (s *stepCheck) checkConfirm(confirm *jv1.Confirm) {
	within := defaultConfirm
	if d := confirm.GetWithin(); d != nil {
		within = d.AsDuration()
		s.within(s.field("confirm.within"), d, "a confirmation within")
	}
	name := confirm.GetDetector()
	if name == "" {
		return
	}
	field := s.field("confirm.detector")
	d, ok := s.catalog.Detectors[name]
	if !ok {
		s.missing(field, "detector", name, names(s.catalog.Detectors))
		return
	}
	for _, service := range s.rb.GetServices() {
		if d.GetService() != "" && d.GetService() != service {
			s.problem(field, "the detector %s observes %s, not %s", name, d.GetService(), service)
		}
	}
	if p := d.GetProvider(); p != "" {
		for _, candidate := range s.step.GetSwitchProvider().GetTo() {
			if candidate != p {
				s.problem(field, "the detector %s observes only %s: it can't confirm a switch to %s", name, p, candidate)
				return
			}
		}
	}
	interval := defaultInterval
	if i := d.GetHttp().GetInterval(); i != nil {
		interval = i.AsDuration()
	}
	if n := confirm.GetSuccesses(); d.GetHttp() != nil && time.Duration(n)*interval > within {
		s.warn("%s: %d good probes of one replica take %s, longer than %s", s.field("confirm"), n, words(time.Duration(n)*interval), words(within))
	}
}

func checkNotify(s *stepCheck) {
	s.notify(s.field(""), s.step.GetNotify(), s.earlier())
}

// notify checks a message at a place; prefix ends with a dot. Its templates may name outputs of the given steps.
func (s *stepCheck) notify(prefix string, notify *jv1.NotifyStep, steps []*jv1.Step) {
	s.channels(prefix+"channels", notify.GetChannels())
	if err := message.Check(notify); err != nil {
		s.template(prefix, err)
		return
	}
	t, err := message.ForStep(notify)
	if err != nil {
		return
	}
	for _, text := range t.Texts() {
		s.references(prefix+text.Field(), text, steps)
	}
}

// template tells each error of a message's templates at its field.
func (s *stepCheck) template(prefix string, err error) {
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	for _, err := range list {
		if e, ok := err.(*message.Error); ok && e.Field != "" { //nolint:errorlint // the members of a join are taken as they are
			place := *e
			place.Field = ""
			s.problem(prefix+e.Field, "%s", place.Error())
			continue
		}
		s.problem(strings.TrimSuffix(prefix, "."), "%v", err)
	}
}

func checkWait(s *stepCheck) {
	wait := s.step.GetWait()
	if wait.GetDuration() != nil {
		s.within(s.field("duration"), wait.GetDuration(), "a wait")
	}
	if wait.GetUntil() == "" {
		return
	}
	s.condition(s.field("until"), wait.GetUntil())
	if s.step.GetTimeout() == nil {
		s.problem(s.path+".wait", "a wait for a condition needs an end: give the step a timeout")
	}
}

func checkVerify(s *stepCheck) {
	verify := s.step.GetVerify()
	if p := verify.GetProvider(); p != "active" && p != "preferred" {
		s.provider(s.field("provider"), p)
	}
	s.within(s.field("for"), verify.GetFor(), "proven health for")
}
