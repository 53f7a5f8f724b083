package api

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
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
}

// declared is one resource of a request, made ready to be compared and stored.
type declared struct {
	kind *kind
	name string
	// field is the path of the message in the request, e.g. `resources[2].runbook`.
	field string
	// msg is without what the server sets.
	msg proto.Message
	// expected is the revision that must be stored; 0: any.
	expected int64
}

func (d *declared) key() string { return d.kind.key(d.name) }

// id names the resource for people and in the audit, e.g. `service/chat`.
func (d *declared) id() string { return d.kind.name + "/" + d.name }

// serverFields are what the server sets; what a caller writes there is not stored.
var serverFields = []protoreflect.Name{"revision", "update_time", "version", "content_hash"}

// strip returns a copy without what the server sets.
func strip(m proto.Message) proto.Message {
	out := proto.Clone(m)
	r := out.ProtoReflect()
	for _, name := range serverFields {
		if f := r.Descriptor().Fields().ByName(name); f != nil {
			r.Clear(f)
		}
	}
	return out
}

// declare makes the i-th resource of an apply ready.
func declare(i int, r *jv1.Resource) (*declared, error) {
	var m interface {
		proto.Message
		GetName() string
		GetRevision() int64
	}
	var what string
	switch k := r.GetKind().(type) {
	case *jv1.Resource_Provider:
		what, m = "provider", k.Provider
	case *jv1.Resource_Service:
		what, m = "service", k.Service
	case *jv1.Resource_Detector:
		what, m = "detector", k.Detector
	case *jv1.Resource_Channel:
		what, m = "channel", k.Channel
	case *jv1.Resource_Runbook:
		what, m = "runbook", k.Runbook
	default:
		return nil, fmt.Errorf("resources[%d] is a %T", i, k)
	}
	return &declared{
		kind: kinds[what], name: m.GetName(), field: fmt.Sprintf("resources[%d].%s", i, what),
		msg: strip(m), expected: m.GetRevision(),
	}, nil
}

// catalog is what is stored together with what is about to be.
type catalog struct {
	view  store.View
	batch map[string]*declared // by key
}

func newCatalog(v store.View, batch []*declared) *catalog {
	c := &catalog{view: v, batch: map[string]*declared{}}
	for _, d := range batch {
		c.batch[d.key()] = d
	}
	return c
}

// get returns a resource as it will be; nil when there is none.
func get[M proto.Message](c *catalog, key string) (m M) {
	if d, ok := c.batch[key]; ok {
		m, _ = d.msg.(M)
		return m
	}
	return store.Get[M](c.view, key).Msg
}

// has tells whether there will be a resource.
func (c *catalog) has(key string) bool {
	if _, ok := c.batch[key]; ok {
		return true
	}
	_, _, _, ok := c.view.Lookup(key)
	return ok
}

// each calls f with all resources of a kind as they will be: the stored ones in order, then the new ones.
func each[M proto.Message](c *catalog, k *kind, f func(m M)) {
	seen := map[string]bool{}
	c.view.Each(k.prefix, func(key string, msg proto.Message, _, _ int64) bool {
		seen[key] = true
		if d, ok := c.batch[key]; ok {
			msg = d.msg
		}
		if m, ok := msg.(M); ok {
			f(m)
		}
		return true
	})
	for key, d := range c.batch {
		if m, ok := d.msg.(M); ok && d.kind == k && !seen[key] {
			f(m)
		}
	}
}
