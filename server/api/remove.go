package api

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/server/audit"
	"github.com/jurymast/jurymast/server/store"
)

// purgeBatch is how many leftover records one transaction removes.
const purgeBatch = 90

// removal is one call that removes a resource.
type removal struct {
	kind         *kind
	name         string
	expected     int64
	validateOnly bool
	request      proto.Message
	requestID    string
}

// remove deletes a resource that nothing refers to, with what belongs to it alone. The revision is 0 with validateOnly.
func (c *common) remove(ctx context.Context, r removal) (int64, error) {
	if !isName(r.name) {
		return 0, notFound(r.kind.name, r.name)
	}
	for range maxTries {
		once, err := c.once(ctx, application{request: r.request, requestID: r.requestID, validateOnly: r.validateOnly})
		if err != nil {
			return 0, err
		}
		if prior := once.prior(nil); prior != nil {
			return prior.revision, nil
		}
		var txn store.Txn
		c.store.Read(func(v store.View) { txn, err = planRemove(v, r) })
		if err != nil || r.validateOnly {
			return 0, err
		}
		c.record(ctx, &txn, audit.Change{Target: plural(r.kind.name + "/" + r.name), Details: map[string]string{"deleted": r.kind.name + "/" + r.name}})
		once.guard(&txn, nil)
		revision, err := c.commit(ctx, txn)
		if err != nil {
			return 0, err
		}
		if revision != 0 {
			if r.kind == kinds["service"] {
				err = c.purge(ctx, r.name)
			}
			return revision, err
		}
	}
	return 0, errContended
}

// planRemove decides on one view. No resource that could refer to this one may have been written since.
func planRemove(v store.View, r removal) (store.Txn, error) {
	key := r.kind.key(r.name)
	_, _, mod, ok := v.Lookup(key)
	switch {
	case !ok:
		return store.Txn{}, notFound(r.kind.name, r.name)
	case r.expected != 0 && r.expected != mod:
		return store.Txn{}, changed(fmt.Sprintf("%s/%s is at revision %d, not %d", r.kind.name, r.name, mod, r.expected))
	}
	if by := runbooks.Referrers(r.kind.name, r.name, catalogOf(v)); len(by) > 0 {
		return store.Txn{}, inUse(r.kind.name, r.name, by)
	}
	txn := store.Txn{
		If: []store.Compare{
			store.Unchanged(key, mod),
			store.NoneNewer(store.Services, v.Revision()),
			store.NoneNewer(store.Detectors, v.Revision()),
			store.NoneNewer(store.Runbooks, v.Revision()),
			store.NoneNewer(store.Schedules, v.Revision()),
			store.NoneNewer(store.Maintenances, v.Revision()),
		},
		Then: []store.Op{store.Delete(key)},
	}
	if r.kind == kinds["schedule"] {
		txn.Then = append(txn.Then, store.Delete(store.ScheduleStateKey(r.name)))
	}
	if r.kind != kinds["service"] {
		return txn, nil
	}
	if _, _, _, live := v.Lookup(store.LiveRunKey(r.name)); live {
		return store.Txn{}, refused("live_run", fmt.Sprintf("a run acts on %s; wait for it or cancel it", r.name))
	}
	txn.If = append(txn.If, store.Absent(store.LiveRunKey(r.name)))
	txn.Then = append(txn.Then, store.Delete(store.ContinuityKey(r.name)), store.Delete(store.AutomationKey(r.name)),
		store.Delete(store.OpenIncidentKey(r.name)))
	if last := store.Get[*jv1.ContinuityState](v, store.ContinuityKey(r.name)); last.Msg != nil {
		// Epochs only grow, for a later service of the same name too: who was away meanwhile remembers this one's.
		txn.If = append(txn.If, store.Unchanged(last.Key, last.Mod))
		txn.Then = append(txn.Then, store.Put(store.RetiredKey(r.name), last.Msg))
	}
	return txn, nil
}

// belongings are where records of a service stand that nothing needs once it is gone. Left behind, they would be taken
// for those of a later service of the same name: an episode of then would keep a runbook of now from starting.
func belongings(service string) []string {
	return []string{
		store.HealthKey(service, ""), store.Reports + service + "/", store.Episodes + service + "/", store.Cooldowns + service + "/",
	}
}

// leftovers lists records of a service, at most so many.
func leftovers(v store.View, service string, most int) []string {
	var keys []string
	for _, prefix := range belongings(service) {
		v.Each(prefix, func(key string, _ proto.Message, _, _ int64) bool {
			if len(keys) < most {
				keys = append(keys, key)
			}
			return len(keys) < most
		})
	}
	return keys
}

// purge removes what belonged to a service that is gone.
func (c *common) purge(ctx context.Context, service string) error {
	for {
		var keys []string
		c.store.Read(func(v store.View) { keys = leftovers(v, service, purgeBatch) })
		if len(keys) == 0 {
			return nil
		}
		txn := store.Txn{If: []store.Compare{store.Absent(store.ServiceKey(service))}}
		for _, key := range keys {
			txn.Then = append(txn.Then, store.Delete(key))
		}
		revision, err := c.commit(ctx, txn)
		if err != nil {
			return fmt.Errorf("remove what belonged to service %s: %w", service, err)
		}
		if revision == 0 {
			return nil // the service is there again
		}
	}
}

func (c *common) purgeAll(ctx context.Context, services []string) error {
	for _, name := range services {
		if err := c.purge(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
