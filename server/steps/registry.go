package steps

import (
	"net/http"
	"slices"
)

// Registry names the kinds of steps.
type Registry struct {
	kinds  map[string]Kind
	client *http.Client // of calls, those that undo included
}

// Options is what kinds need from outside.
type Options struct {
	// Probes tells what detectors saw.
	Probes Probes
	// Client makes the calls of http_request, see [NewClient]. Redirects are not followed, whatever it says.
	Client *http.Client
}

// New returns the registry of all kinds.
func New(o Options) *Registry {
	client := callClient(o.Client)
	return &Registry{client: client, kinds: map[string]Kind{
		"switch_provider":  switchProvider{probes: o.Probes},
		"enable_queueing":  queueing{on: true},
		"disable_queueing": queueing{on: false},
		"notify":           notifyStep{},
		"approval":         approval{},
		"wait":             wait{},
		"verify":           verify{},
		"http_request":     httpRequest{client: client},
		"set_weight":       setWeight{},
		"automation_off":   automationOff{},
		"update_incident":  updateIncident{},
		"drain_queue":      drainQueue{},
	}}
}

// Kind returns the kind of that name; ok is false when there is none.
func (r *Registry) Kind(name string) (Kind, bool) {
	k, ok := r.kinds[name]
	return k, ok
}

// Names returns the names of all kinds, sorted.
func (r *Registry) Names() []string {
	names := make([]string, 0, len(r.kinds))
	for name := range r.kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
