package runbooks

import (
	"maps"
	"slices"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Catalog is what is known where something is validated: all resources that others refer to, or that refer to others, by
// name, and the installation. It is only read.
//
// A nil *Catalog knows nothing and says so: what it is asked for and can't be found is then a warning, as it may well be
// stored on the server. That is how files are checked offline.
type Catalog struct {
	// Providers by name.
	Providers map[string]*jv1.Provider
	// Services by name.
	Services map[string]*jv1.Service
	// Detectors by name.
	Detectors map[string]*jv1.Detector
	// Channels by name.
	Channels map[string]*jv1.Channel
	// Runbooks by name.
	Runbooks map[string]*jv1.Runbook
	// Schedules by name.
	Schedules map[string]*jv1.Schedule
	// Maintenances by name.
	Maintenances map[string]*jv1.Maintenance
	// Vantages is the number of replicas that probe. Zero: not known.
	Vantages int

	// partial says that there may be more than is known here.
	partial bool
}

// known returns a catalog that is never nil.
func known(c *Catalog) *Catalog {
	if c == nil {
		return &Catalog{partial: true}
	}
	return c
}

// with returns the catalog as it would be after the resources were stored. Resources without a kind or a name don't
// count.
func (c *Catalog) with(resources []*jv1.Resource) *Catalog {
	next := *known(c)
	next.Providers = clone(next.Providers)
	next.Services = clone(next.Services)
	next.Detectors = clone(next.Detectors)
	next.Channels = clone(next.Channels)
	next.Runbooks = clone(next.Runbooks)
	next.Schedules = clone(next.Schedules)
	next.Maintenances = clone(next.Maintenances)
	for _, r := range resources {
		if NameOf(r) == "" {
			continue
		}
		switch k := r.GetKind().(type) {
		case *jv1.Resource_Provider:
			next.Providers[k.Provider.GetName()] = k.Provider
		case *jv1.Resource_Service:
			next.Services[k.Service.GetName()] = k.Service
		case *jv1.Resource_Detector:
			next.Detectors[k.Detector.GetName()] = k.Detector
		case *jv1.Resource_Channel:
			next.Channels[k.Channel.GetName()] = k.Channel
		case *jv1.Resource_Runbook:
			next.Runbooks[k.Runbook.GetName()] = k.Runbook
		case *jv1.Resource_Schedule:
			next.Schedules[k.Schedule.GetName()] = k.Schedule
		case *jv1.Resource_Maintenance:
			next.Maintenances[k.Maintenance.GetName()] = k.Maintenance
		}
	}
	return &next
}

func clone[T any](from map[string]T) map[string]T {
	if from == nil {
		return map[string]T{}
	}
	return maps.Clone(from)
}

// names lists the names of one kind, sorted.
func names[T any](resources map[string]T) []string {
	return slices.Sorted(maps.Keys(resources))
}

// observers lists the detectors that speak of a service, sorted by name.
func (c *Catalog) observers(service string) []*jv1.Detector {
	var found []*jv1.Detector
	for _, name := range names(c.Detectors) {
		d := c.Detectors[name]
		if d.GetService() == service || d.GetService() == "" && c.serves(service, d.GetProvider()) {
			found = append(found, d)
		}
	}
	return found
}

func (c *Catalog) serves(service, provider string) bool {
	return slices.Contains(providerNames(c.Services[service]), provider)
}

// providerNames lists the providers of a service in order of preference.
func providerNames(s *jv1.Service) []string {
	list := make([]string, 0, len(s.GetProviders()))
	for _, p := range s.GetProviders() {
		list = append(list, p.GetName())
	}
	return list
}

// KindOf returns the kind of a resource in lower case, e.g. `runbook`. Empty: it has none.
func KindOf(r *jv1.Resource) string {
	m := r.ProtoReflect()
	field := m.WhichOneof(m.Descriptor().Oneofs().ByName("kind"))
	if field == nil {
		return ""
	}
	return string(field.Name())
}

// NameOf returns the name of a resource.
func NameOf(r *jv1.Resource) string {
	switch k := r.GetKind().(type) {
	case *jv1.Resource_Provider:
		return k.Provider.GetName()
	case *jv1.Resource_Service:
		return k.Service.GetName()
	case *jv1.Resource_Detector:
		return k.Detector.GetName()
	case *jv1.Resource_Channel:
		return k.Channel.GetName()
	case *jv1.Resource_Runbook:
		return k.Runbook.GetName()
	case *jv1.Resource_Schedule:
		return k.Schedule.GetName()
	case *jv1.Resource_Maintenance:
		return k.Maintenance.GetName()
	case *jv1.Resource_Settings:
		return k.Settings.GetName()
	}
	return ""
}
