package runbooks

import (
	"fmt"
	"slices"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// ValidateResources finds what is wrong with resources that are to be stored together, where references among them
// count like those to what is stored. Fields begin with `resources[i].` and the kind, e.g.
// `resources[1].runbook.steps[2].switch_provider.to[0]`. What is stored and would be broken by the change is a problem
// of the resource that breaks it. The catalog may be nil, see Catalog.
func ValidateResources(resources []*jv1.Resource, catalog *Catalog) (problems []*jv1.Problem, warnings []string) {
	before := known(catalog)
	after := before.with(resources)
	first := map[string]int{}
	given := map[string]bool{}
	for i, resource := range resources {
		r := check(resource, fmt.Sprintf("resources[%d]", i), after)
		if id := key(resource); NameOf(resource) != "" {
			if j, twice := first[id]; twice {
				r.problem("name", "the %s %s is given before, as resources[%d]", KindOf(resource), NameOf(resource), j)
			} else {
				first[id] = i
			}
			given[id] = true
		}
		problems = append(problems, r.problems...)
		warnings = append(warnings, r.warnings...)
	}
	for i, resource := range resources {
		if first[key(resource)] == i {
			problems = append(problems, broken(resource, i, given, before, after)...)
		}
	}
	warnings = append(warnings, rivals(resources, after)...)
	return problems, compactWarnings(append(warnings, observedServices(resources, given, after)...))
}

func key(r *jv1.Resource) string { return KindOf(r) + "/" + NameOf(r) }

// check validates one resource; its fields begin with the prefix and the kind.
func check(resource *jv1.Resource, prefix string, catalog *Catalog) *report {
	kind := KindOf(resource)
	r := newReport(kind, NameOf(resource), catalog)
	r.prefix = prefix + "." + kind + "."
	switch k := resource.GetKind().(type) {
	case *jv1.Resource_Provider:
		validateProvider(r, k.Provider)
	case *jv1.Resource_Service:
		validateService(r, k.Service)
	case *jv1.Resource_Detector:
		validateDetector(r, k.Detector)
	case *jv1.Resource_Channel:
		validateChannel(r, k.Channel)
	case *jv1.Resource_Runbook:
		validateRunbook(r, k.Runbook)
	case *jv1.Resource_Schedule:
		validateSchedule(r, k.Schedule)
	case *jv1.Resource_Maintenance:
		validateMaintenance(r, k.Maintenance)
	case *jv1.Resource_Settings:
		validateSettings(r, k.Settings)
	default:
		r.prefix = prefix
		r.problem("", "exactly one kind must be given")
	}
	return r
}

// broken finds the problems that storing a service or a runbook makes for stored resources which refer to it and are not
// part of the change.
func broken(resource *jv1.Resource, index int, given map[string]bool, before, after *Catalog) []*jv1.Problem {
	var found []*jv1.Problem
	field := fmt.Sprintf("resources[%d].service.providers", index)
	blame := func(other *jv1.Resource) {
		if given[key(other)] {
			return
		}
		was := map[string]bool{}
		for _, p := range check(other, "", before).problems {
			was[p.GetField()+p.GetMessage()] = true
		}
		for _, p := range check(other, "", after).problems {
			if !was[p.GetField()+p.GetMessage()] {
				found = append(found, &jv1.Problem{Field: field, Message: fmt.Sprintf(
					"the stored %s %s would not be valid any more: %s", KindOf(other), NameOf(other), p.GetMessage())})
			}
		}
	}
	if rb := resource.GetRunbook(); rb != nil && before.Runbooks[rb.GetName()] != nil {
		field = fmt.Sprintf("resources[%d].runbook", index)
		for _, name := range names(before.Schedules) {
			if s := before.Schedules[name]; s.GetRunbook() == rb.GetName() {
				blame(&jv1.Resource{Kind: &jv1.Resource_Schedule{Schedule: s}})
			}
		}
		for _, name := range before.includers(rb.GetName()) {
			blame(&jv1.Resource{Kind: &jv1.Resource_Runbook{Runbook: before.Runbooks[name]}})
		}
	}
	service := resource.GetService()
	if service == nil || before.Services[service.GetName()] == nil {
		return found
	}
	for _, name := range names(before.Runbooks) {
		if rb := before.Runbooks[name]; slices.Contains(rb.GetServices(), service.GetName()) {
			blame(&jv1.Resource{Kind: &jv1.Resource_Runbook{Runbook: rb}})
		}
	}
	for _, name := range names(before.Schedules) {
		s := before.Schedules[name]
		if of, err := ScheduledService(s, before.Runbooks[s.GetRunbook()]); err == nil && of == service.GetName() {
			blame(&jv1.Resource{Kind: &jv1.Resource_Schedule{Schedule: s}})
		}
	}
	for _, name := range names(before.Detectors) {
		if d := before.Detectors[name]; d.GetService() == service.GetName() {
			blame(&jv1.Resource{Kind: &jv1.Resource_Detector{Detector: d}})
		}
	}
	return found
}

// rivals warns of runbooks that the same event starts for the same service: only one can run at a time.
func rivals(resources []*jv1.Resource, after *Catalog) []string {
	var warnings []string
	for _, resource := range resources {
		rb := Normalize(resource.GetRunbook())
		if rb.GetOn() == nil {
			continue
		}
		for _, name := range names(after.Runbooks) {
			other := Normalize(after.Runbooks[name])
			if name == rb.GetName() || other.GetOn().GetHealth() != rb.GetOn().GetHealth() ||
				other.GetOn().GetProvider() != rb.GetOn().GetProvider() {
				continue
			}
			for _, service := range rb.GetServices() {
				if slices.Contains(other.GetServices(), service) {
					pair := []string{rb.GetName(), name}
					slices.Sort(pair)
					warnings = append(warnings, fmt.Sprintf(
						"runbook %s: the same event starts %s for %s, and only one run at a time acts on a service", pair[0], pair[1], service))
				}
			}
		}
	}
	return warnings
}

// observedServices repeats the warnings about health rules of stored services whose detectors change.
func observedServices(resources []*jv1.Resource, given map[string]bool, after *Catalog) []string {
	var warnings []string
	for _, resource := range resources {
		service, ok := after.Services[resource.GetDetector().GetService()]
		if !ok || given["service/"+service.GetName()] {
			continue
		}
		r := newReport("service", service.GetName(), after)
		warnOfHealthRule(r, service)
		warnings = append(warnings, r.warnings...)
	}
	return warnings
}

// compactWarnings leaves the first of equal warnings.
func compactWarnings(warnings []string) []string {
	var list []string
	for _, w := range warnings {
		if !slices.Contains(list, w) {
			list = append(list, w)
		}
	}
	return list
}

// Referrers lists what refers to a resource, e.g. `runbook fail-back`, sorted by kind and name: it can't be deleted
// before they are.
func Referrers(kind, name string, catalog *Catalog) []string {
	c := known(catalog)
	var list []string
	if kind == "provider" {
		for _, s := range names(c.Services) {
			if c.serves(s, name) {
				list = append(list, "service "+s)
			}
		}
	}
	for _, d := range names(c.Detectors) {
		if kind == "service" && c.Detectors[d].GetService() == name || kind == "provider" && c.Detectors[d].GetProvider() == name {
			list = append(list, "detector "+d)
		}
	}
	for _, rb := range names(c.Runbooks) {
		if refers(c.Runbooks[rb], kind, name) {
			list = append(list, "runbook "+rb)
		}
	}
	for _, s := range names(c.Schedules) {
		if kind == "runbook" && c.Schedules[s].GetRunbook() == name || kind == "service" && c.Schedules[s].GetService() == name {
			list = append(list, "schedule "+s)
		}
	}
	for _, m := range names(c.Maintenances) {
		if kind == "service" && slices.Contains(c.Maintenances[m].GetServices(), name) ||
			kind == "provider" && slices.Contains(c.Maintenances[m].GetProviders(), name) {
			list = append(list, "maintenance "+m)
		}
	}
	slices.Sort(list)
	return list
}

// refers tells whether a runbook names a resource.
func refers(rb *jv1.Runbook, kind, name string) bool {
	if kind == "service" {
		return slices.Contains(rb.GetServices(), name)
	}
	if kind == "provider" && rb.GetOn().GetProvider() == name || kind == "channel" && slices.Contains(rb.GetEscalation().GetChannels(), name) {
		return true
	}
	return slices.ContainsFunc(Steps(rb), func(step *jv1.Step) bool {
		switch kind {
		case "runbook":
			return step.GetRunRunbook().GetRunbook() == name
		case "provider":
			return slices.Contains(step.GetSwitchProvider().GetTo(), name) || step.GetVerify().GetProvider() == name
		case "detector":
			return step.GetSwitchProvider().GetConfirm().GetDetector() == name
		case "channel":
			return slices.Contains(step.GetNotify().GetChannels(), name) || slices.Contains(step.GetCompensate().GetNotify().GetChannels(), name) ||
				slices.Contains(step.GetApproval().GetChannels(), name)
		}
		return false
	})
}
