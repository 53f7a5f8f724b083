package api

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/server/store"
)

// kind is one kind of what an operator declares.
type kind struct {
	name   string // in lower case, as in files and answers
	prefix string // of its keys
	key    func(name string) string
}

// The kinds. The table is read only.
var kinds = map[string]*kind{
	"provider": {name: "provider", prefix: store.Providers, key: store.ProviderKey},
	"service":  {name: "service", prefix: store.Services, key: store.ServiceKey},
	"detector": {name: "detector", prefix: store.Detectors, key: store.DetectorKey},
	"channel":  {name: "channel", prefix: store.Channels, key: store.ChannelKey},
	"runbook":  {name: "runbook", prefix: store.Runbooks, key: store.RunbookKey},

	"schedule":    {name: "schedule", prefix: store.Schedules, key: store.ScheduleKey},
	"maintenance": {name: "maintenance", prefix: store.Maintenances, key: store.MaintenanceKey},
	"settings":    {name: "settings", prefix: store.SettingsPrefix, key: store.SettingsKey},
}

// declared is one resource of a request, made ready to be compared and stored.
type declared struct {
	kind *kind
	name string
	// given is the resource as the request has it.
	given *jv1.Resource
	// msg is its message in the form in which it is stored, without what the server sets.
	msg proto.Message
	// expected is the revision that must be stored; 0: any.
	expected int64
}

func (d *declared) key() string { return d.kind.key(d.name) }

// id names the resource for people and in the audit, e.g. `service/chat`.
func (d *declared) id() string { return d.kind.name + "/" + d.name }

// declare makes a resource ready. The kind is known, or the rules would not have let it through.
func declare(r *jv1.Resource) (*declared, error) {
	var m interface {
		proto.Message
		GetRevision() int64
	}
	switch k := r.GetKind().(type) {
	case *jv1.Resource_Provider:
		m = k.Provider
	case *jv1.Resource_Service:
		m = k.Service
	case *jv1.Resource_Detector:
		m = k.Detector
	case *jv1.Resource_Channel:
		m = k.Channel
	case *jv1.Resource_Runbook:
		m = runbooks.Normalize(k.Runbook)
	case *jv1.Resource_Schedule:
		m = k.Schedule
	case *jv1.Resource_Maintenance:
		m = k.Maintenance
	case *jv1.Resource_Settings:
		m = k.Settings
	default:
		return nil, fmt.Errorf("a resource that is a %T", k)
	}
	return &declared{
		kind: kinds[runbooks.KindOf(r)], name: runbooks.NameOf(r), given: r,
		msg: runbooks.ClearOutput(proto.Clone(m)), expected: m.GetRevision(),
	}, nil
}

// same tells whether a stored message is what is declared.
func (d *declared) same(stored proto.Message) bool {
	if rb, ok := stored.(*jv1.Runbook); ok {
		next, ok := d.msg.(*jv1.Runbook)
		return ok && rb.GetContentHash() == runbooks.Hash(next)
	}
	return proto.Equal(runbooks.ClearOutput(proto.Clone(stored)), d.msg)
}

// catalogOf gathers what is stored, for what is judged against it.
func catalogOf(v store.View) *runbooks.Catalog {
	replicas := map[string]bool{}
	for _, r := range store.List[*recordv1.Session](v, store.Sessions) {
		replicas[r.Msg.GetReplica()] = true
	}
	return &runbooks.Catalog{
		Providers: byName[*jv1.Provider](v, kinds["provider"]),
		Services:  byName[*jv1.Service](v, kinds["service"]),
		Detectors: byName[*jv1.Detector](v, kinds["detector"]),
		Channels:  byName[*jv1.Channel](v, kinds["channel"]),
		Runbooks:  byName[*jv1.Runbook](v, kinds["runbook"]),
		Schedules: byName[*jv1.Schedule](v, kinds["schedule"]),
		Vantages:  len(replicas),

		Maintenances: byName[*jv1.Maintenance](v, kinds["maintenance"]),
	}
}

func byName[M proto.Message](v store.View, k *kind) map[string]M {
	out := map[string]M{}
	for _, r := range store.List[M](v, k.prefix) {
		out[strings.TrimPrefix(r.Key, k.prefix)] = r.Msg
	}
	return out
}

// references lists the keys of the resources that a message names. A word that means a provider only at run time is the
// name of none.
func references(m proto.Message) []string {
	var keys []string
	add := func(key func(string) string, names ...string) {
		for _, name := range names {
			if name != "" && !slices.Contains(keys, key(name)) {
				keys = append(keys, key(name))
			}
		}
	}
	switch m := m.(type) {
	case *jv1.Service:
		for _, p := range m.GetProviders() {
			add(store.ProviderKey, p.GetName())
		}
	case *jv1.Detector:
		add(store.ServiceKey, m.GetService())
		add(store.ProviderKey, m.GetProvider())
	case *jv1.Runbook:
		add(store.ServiceKey, m.GetServices()...)
		add(store.ProviderKey, m.GetOn().GetProvider())
		for _, s := range runbooks.Steps(m) {
			add(store.RunbookKey, s.GetRunRunbook().GetRunbook())
			add(store.ProviderKey, s.GetSwitchProvider().GetTo()...)
			add(store.DetectorKey, s.GetSwitchProvider().GetConfirm().GetDetector())
			add(store.ChannelKey, s.GetNotify().GetChannels()...)
			add(store.ChannelKey, s.GetApproval().GetChannels()...)
			add(store.ProviderKey, s.GetVerify().GetProvider())
		}
	case *jv1.Schedule:
		add(store.RunbookKey, m.GetRunbook())
		add(store.ServiceKey, m.GetService())
	case *jv1.Maintenance:
		add(store.ServiceKey, m.GetServices()...)
		add(store.ProviderKey, m.GetProviders()...)
	}
	return keys
}
