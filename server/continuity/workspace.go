package continuity

import (
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// Workspace is the facts of one service at one revision, and the changes that were decided on them. It is made for one
// transaction and not safe for concurrent use. It must be filled and used inside the view it was opened on, except
// [Workspace.Txn], which may be called later.
type Workspace struct {
	// Now is the replica's clock when the workspace was opened; all time guards use it.
	Now time.Time
	// Service is the service; its message is nil when there is none.
	Service store.Record[*jv1.Service]

	view     store.View
	name     string
	state    store.Record[*jv1.ContinuityState]
	next     *jv1.ContinuityState // nil until something changes
	rerouted bool                 // an epoch step is due
	read     map[string]int64     // key to the revision it was read at
	newest   map[string]bool      // prefixes under which nothing may have been put since
	written  map[string]proto.Message
	ops      []store.Op
}

// Open reads the facts of a service.
func Open(view store.View, service string, now time.Time) *Workspace {
	w := &Workspace{Now: now, view: view, name: service, read: map[string]int64{}}
	w.Service = Read[*jv1.Service](w, store.ServiceKey(service))
	w.state = Read[*jv1.ContinuityState](w, store.ContinuityKey(service))
	return w
}

// Read returns a record and remembers to compare it. Decisions read every fact this way.
func Read[M proto.Message](w *Workspace, key string) store.Record[M] {
	rec := store.Get[M](w.view, key)
	w.read[key] = rec.Mod
	return rec
}

// List returns the records of a family below a prefix and remembers to compare them, and that none is added. The prefix
// ends with a slash.
func List[M proto.Message](w *Workspace, prefix string) []store.Record[M] {
	recs := store.List[M](w.view, prefix)
	for _, rec := range recs {
		w.read[rec.Key] = rec.Mod
	}
	w.ReadNewest(prefix)
	return recs
}

// Name is the name of the service.
func (w *Workspace) Name() string { return w.name }

// View is the view the workspace was opened on. What is looked up there directly is not compared.
func (w *Workspace) View() store.View { return w.view }

// State is the continuity state with the changes made so far; nil when there is none. It must not be changed.
func (w *Workspace) State() *jv1.ContinuityState {
	if w.next != nil {
		return w.next
	}
	return w.state.Msg
}

// Active is the active provider; empty when there is no state.
func (w *Workspace) Active() string { return w.State().GetActiveProvider() }

// Preferred is the first provider of the service; empty when there is no service.
func (w *Workspace) Preferred() string { return Preferred(w.Service.Msg) }

// Preferred returns the first provider of a service; empty when there is none.
func Preferred(s *jv1.Service) string {
	if len(s.GetProviders()) == 0 {
		return ""
	}
	return s.GetProviders()[0].GetName()
}

// Resolve returns the provider a word means: `active`, `preferred`, or the name itself.
func (w *Workspace) Resolve(word string) string {
	switch word {
	case "", "active":
		return w.Active()
	case "preferred":
		return w.Preferred()
	default:
		return word
	}
}

// Candidates expands the words of a switch: names, `preferred`, and `any` for every provider in order of preference.
// Each provider comes once.
func (w *Workspace) Candidates(words []string) []string {
	var out []string
	add := func(name string) {
		if name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for _, word := range words {
		if word != "any" {
			add(w.Resolve(word))
			continue
		}
		for _, p := range w.Service.Msg.GetProviders() {
			add(p.GetName())
		}
	}
	return out
}

// Health returns the judged health of a provider; the zero Record (nil message) when nothing is known.
func (w *Workspace) Health(provider string) store.Record[*jv1.Health] {
	return Read[*jv1.Health](w, store.HealthKey(w.name, provider))
}

// Phase is the phase with the changes made so far.
func (w *Workspace) Phase() jv1.Phase {
	return PhaseOf(w.Service.Msg, w.State(), w.Health(w.Active()).Msg)
}

// PhaseOf derives the phase from the facts. What is queued and to be drained is on its way back, as are weights on the
// preferred provider while another is active. Otherwise queueing outweighs the route: nobody serves.
func PhaseOf(service *jv1.Service, state *jv1.ContinuityState, active *jv1.Health) jv1.Phase {
	switch {
	case state == nil || service == nil:
		return jv1.Phase_PHASE_UNSPECIFIED
	case state.GetDrain() != nil:
		return jv1.Phase_PHASE_FAILING_BACK
	case state.GetQueueing():
		return jv1.Phase_PHASE_QUEUEING
	case state.GetActiveProvider() != Preferred(service) && state.GetWeights()[Preferred(service)] > 0:
		return jv1.Phase_PHASE_FAILING_BACK
	case state.GetActiveProvider() != Preferred(service):
		return jv1.Phase_PHASE_FAILED_OVER
	}
	switch active.GetState() {
	case jv1.HealthState_HEALTH_STATE_SUSPECT, jv1.HealthState_HEALTH_STATE_FAILING,
		jv1.HealthState_HEALTH_STATE_BLOCKED, jv1.HealthState_HEALTH_STATE_RECOVERING:
		return jv1.Phase_PHASE_DEGRADED
	default:
		return jv1.Phase_PHASE_NORMAL
	}
}

// Author is who changes the state, and why.
type Author struct {
	// Run is the run that does; empty for a human's command.
	Run string
	// Actor is the principal.
	Actor string
	// Reason in words.
	Reason string
	// Machine says that no human started the run: its switches count for the fleet-wide limit.
	Machine bool
	// BreakGlass marks that guards were overruled.
	BreakGlass bool
}

// change returns the state to write into, with author and epoch step prepared. Changes of one workspace share one
// epoch step.
func (w *Workspace) change(a Author) *jv1.ContinuityState {
	s := w.step()
	s.Run, s.Actor, s.Reason = a.Run, a.Actor, a.Reason
	return s
}

// step returns the state to write into with the epoch step alone: whose word the route is stays as it was.
func (w *Workspace) step() *jv1.ContinuityState {
	if w.next == nil {
		w.next = proto.CloneOf(w.state.Msg)
	}
	if !w.rerouted {
		w.rerouted = true
		w.next.Epoch++
	}
	return w.next
}

// route makes provider the active one. The mark of a break-glass is the route's: other changes leave it.
func (w *Workspace) route(provider string, provisional bool, a Author) {
	s := w.change(a)
	s.PreviousProvider = s.ActiveProvider
	s.ActiveProvider = provider
	s.Weights = nil
	s.Provisional = provisional
	s.BreakGlass = a.BreakGlass
	s.Since = timestamppb.New(w.Now)
}

// mark sets or lifts the mark of a break-glass on the route as it is. The epoch stays: nobody's requests go elsewhere.
func (w *Workspace) mark(a Author) {
	if w.State().GetBreakGlass() == a.BreakGlass {
		return
	}
	if w.next == nil {
		w.next = proto.CloneOf(w.state.Msg)
	}
	w.next.Run, w.next.Actor, w.next.Reason = a.Run, a.Actor, a.Reason
	w.next.BreakGlass = a.BreakGlass
}

// SetQueueing switches queueing; false when it already is as asked.
func (w *Workspace) SetQueueing(on bool, a Author) bool {
	if w.State().GetQueueing() == on {
		return false
	}
	s := w.change(a)
	s.Queueing = on
	s.QueueingSince = nil
	if on {
		s.QueueingSince = timestamppb.New(w.Now)
	}
	return true
}

// Confirm makes a provisional switch final. The route stays as it is, and so does the epoch.
func (w *Workspace) Confirm() {
	if !w.State().GetProvisional() {
		return
	}
	if w.next == nil {
		w.next = proto.CloneOf(w.state.Msg)
	}
	w.next.Provisional = false
}

// Add puts a further write into the transaction. A key may be written once.
func (w *Workspace) Add(op store.Op) { w.ops = append(w.ops, op) }

// Replace is [Workspace.Add] for a key that may have been written already: the earlier write gives way.
func (w *Workspace) Replace(op store.Op) {
	w.ops = slices.DeleteFunc(w.ops, func(o store.Op) bool { return o.Key == op.Key })
	w.ops = append(w.ops, op)
}

// Writes is how many writes were decided so far.
func (w *Workspace) Writes() int {
	if w.next != nil {
		return len(w.ops) + 1
	}
	return len(w.ops)
}

// Changed tells whether the continuity state is changed.
func (w *Workspace) Changed() bool { return w.next != nil }

// maxCompares is the most facts that are compared one by one: a transaction has room for store.MaxOps compares, and
// callers add their own.
const maxCompares = 60

// Txn returns the compares of all facts that were read and the writes that were decided.
func (w *Workspace) Txn() (compares []store.Compare, ops []store.Op) {
	// Where a service has many providers, what stands once for each of them is compared as a whole. That does not notice
	// a removal; but neither a provider nor its health is removed while the service, which is compared, names it.
	whole, many := map[string]bool{}, map[string]bool{}
	maps.Copy(whole, w.newest)
	if len(w.read) > maxCompares {
		many[store.HealthKey(w.name, "")], many[store.Providers] = true, true
		maps.Copy(whole, many)
	}
	for _, key := range slices.Sorted(maps.Keys(w.read)) {
		if prefix := key[:strings.LastIndexByte(key, '/')+1]; !many[prefix] {
			compares = append(compares, store.Unchanged(key, w.read[key]))
		}
	}
	for _, prefix := range slices.Sorted(maps.Keys(whole)) {
		compares = append(compares, store.NoneNewer(prefix, w.view.Revision()))
	}
	ops = slices.Clone(w.ops)
	if w.next != nil {
		ops = append(ops, store.Put(store.ContinuityKey(w.name), w.next))
	}
	return compares, ops
}
