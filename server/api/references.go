package api

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// reference is the name of another resource inside one.
type reference struct {
	kind *kind
	name string
	// field is its path in the message, e.g. `steps[1].switch_provider.to[0]`.
	field string
}

// references lists the resources that a message names. Words that mean a provider only at run time are left out.
func references(m proto.Message) []reference {
	var out refs
	switch m := m.(type) {
	case *jv1.Service:
		for i, p := range m.GetProviders() {
			out.add("provider", p.GetName(), "providers[%d].name", i)
		}
	case *jv1.Detector:
		out.add("service", m.GetService(), "service")
		out.add("provider", m.GetProvider(), "provider")
	case *jv1.Runbook:
		for i, s := range m.GetServices() {
			out.add("service", s, "services[%d]", i)
		}
		out.provider(m.GetOn().GetProvider(), "on.provider")
		out.steps(m.GetSteps(), "")
	}
	return out
}

type refs []reference

func (r *refs) add(kind, name, format string, args ...any) {
	if name != "" {
		*r = append(*r, reference{kind: kinds[kind], name: name, field: fmt.Sprintf(format, args...)})
	}
}

// provider adds a provider unless it is a word for one.
func (r *refs) provider(name, format string, args ...any) {
	if !slices.Contains([]string{"active", "preferred", "any"}, name) {
		r.add("provider", name, format, args...)
	}
}

func (r *refs) steps(steps []*jv1.Step, prefix string) {
	for i, s := range steps {
		at := fmt.Sprintf("%ssteps[%d].", prefix, i)
		switch a := s.GetAction().(type) {
		case *jv1.Step_SwitchProvider:
			for j, to := range a.SwitchProvider.GetTo() {
				r.provider(to, "%sswitch_provider.to[%d]", at, j)
			}
			r.add("detector", a.SwitchProvider.GetConfirm().GetDetector(), "%sswitch_provider.confirm.detector", at)
		case *jv1.Step_Notify:
			for j, c := range a.Notify.GetChannels() {
				r.add("channel", c, "%snotify.channels[%d]", at, j)
			}
		case *jv1.Step_Approval:
			for j, c := range a.Approval.GetChannels() {
				r.add("channel", c, "%sapproval.channels[%d]", at, j)
			}
		case *jv1.Step_Verify:
			r.provider(a.Verify.GetProvider(), "%sverify.provider", at)
		case *jv1.Step_SetWeight:
			r.provider(a.SetWeight.GetProvider(), "%sset_weight.provider", at)
		case *jv1.Step_RunRunbook:
			r.add("runbook", a.RunRunbook.GetRunbook(), "%srun_runbook.runbook", at)
		case *jv1.Step_Parallel:
			r.steps(a.Parallel.GetSteps(), at+"parallel.")
		}
	}
}

// users names the stored resources that refer to one, e.g. `service/chat`, in order. The resource itself does not count.
func users(v store.View, k *kind, name string) []string {
	var out []string
	for _, user := range []*kind{kinds["service"], kinds["detector"], kinds["runbook"]} {
		v.Each(user.prefix, func(key string, m proto.Message, _, _ int64) bool {
			if user == k && key == k.key(name) {
				return true
			}
			refers := func(r reference) bool { return r.kind == k && r.name == name }
			if slices.ContainsFunc(references(m), refers) {
				out = append(out, user.name+"/"+key[len(user.prefix):])
			}
			return true
		})
	}
	return out
}
