package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
)

// resourceKind is one kind of what an operator declares.
type resourceKind struct {
	name   string
	plural string
	// page returns a page of resources.
	page func(ctx context.Context, api *api, size int32, token string) ([]*jv1.Resource, string, error)
	// get returns one resource.
	get func(ctx context.Context, api *api, name string) (*jv1.Resource, error)
	// list is the answer that holds a list of such resources, for JSON.
	list func(resources []*jv1.Resource) proto.Message
	// columns of the table, and the cells of one row.
	columns []column
	cells   func(a *App, r *jv1.Resource) []string
}

// kinds are the kinds, in the order in which they build on each other.
func kinds() []resourceKind {
	return []resourceKind{
		providerKind(), serviceKind(), detectorKind(), channelKind(), runbookKind(), scheduleKind(), maintenanceKind(), settingsKind(),
	}
}

func kindNames() []string {
	var out []string
	for _, k := range kinds() {
		out = append(out, k.name)
	}
	return out
}

// kindOf finds a kind by its name or plural.
func kindOf(text string) (resourceKind, bool) {
	text = strings.ToLower(text)
	all := kinds()
	i := slices.IndexFunc(all, func(k resourceKind) bool { return k.name == text || k.plural == text })
	if i < 0 {
		return resourceKind{}, false
	}
	return all[i], true
}

// all returns every resource of a kind.
func (k resourceKind) all(ctx context.Context, api *api) ([]*jv1.Resource, error) {
	var out []*jv1.Resource
	token := ""
	for {
		page, next, err := k.page(ctx, api, maxPage, token)
		if err != nil {
			return nil, err
		}
		out = append(out, page...)
		if token = next; token == "" {
			return out, nil
		}
	}
}

// catalogOf returns all that is declared, as the checks of runbooks want it.
func catalogOf(ctx context.Context, api *api) (*runbooks.Catalog, error) {
	c := &runbooks.Catalog{
		Providers: map[string]*jv1.Provider{}, Services: map[string]*jv1.Service{}, Detectors: map[string]*jv1.Detector{},
		Channels: map[string]*jv1.Channel{}, Runbooks: map[string]*jv1.Runbook{}, Schedules: map[string]*jv1.Schedule{},
		Maintenances: map[string]*jv1.Maintenance{},
	}
	for _, k := range kinds() {
		list, err := k.all(ctx, api)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.plural, err)
		}
		for _, r := range list {
			name := runbooks.NameOf(r)
			switch v := r.GetKind().(type) {
			case *jv1.Resource_Provider:
				c.Providers[name] = v.Provider
			case *jv1.Resource_Service:
				c.Services[name] = v.Service
			case *jv1.Resource_Detector:
				c.Detectors[name] = v.Detector
			case *jv1.Resource_Channel:
				c.Channels[name] = v.Channel
			case *jv1.Resource_Runbook:
				c.Runbooks[name] = v.Runbook
			case *jv1.Resource_Schedule:
				c.Schedules[name] = v.Schedule
			case *jv1.Resource_Maintenance:
				c.Maintenances[name] = v.Maintenance
			}
		}
	}
	return c, nil
}

// inner returns the message that stands in a resource.
func inner(r *jv1.Resource) proto.Message {
	m := r.ProtoReflect()
	f := m.WhichOneof(m.Descriptor().Oneofs().ByName("kind"))
	if f == nil {
		return r
	}
	return m.Get(f).Message().Interface()
}

// convert turns a list of one kind into resources.
func convert[M any](in []M, wrap func(M) *jv1.Resource) []*jv1.Resource {
	out := make([]*jv1.Resource, 0, len(in))
	for _, m := range in {
		out = append(out, wrap(m))
	}
	return out
}

// unwrap turns resources back into a list of one kind.
func unwrap[M any](in []*jv1.Resource, get func(*jv1.Resource) M) []M {
	out := make([]M, 0, len(in))
	for _, r := range in {
		out = append(out, get(r))
	}
	return out
}
