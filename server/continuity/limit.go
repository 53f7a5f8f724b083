package continuity

import (
	"hash/fnv"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/server/store"
)

// Settings are those of the installation, compared like every fact; nil when none are stored.
func (w *Workspace) Settings() *jv1.Settings {
	return Read[*jv1.Settings](w, store.SettingsKey(runbooks.SettingsName)).Msg
}

// switchLimit is how many switches machines may make within which window, all services together.
func (w *Workspace) switchLimit() (count int, window time.Duration) {
	l := w.Settings().GetSwitchLimit()
	count, window = int(l.GetCount()), runbooks.DefaultSwitchWindow
	if count == 0 {
		count = runbooks.DefaultSwitchCount
	}
	if d := l.GetWindow(); d != nil {
		window = d.AsDuration()
	}
	return count, window
}

// CheckSwitchLimit refuses when no slot is left for a switch of the run; an empty run has none yet.
func (w *Workspace) CheckSwitchLimit(run string) *Refusal {
	_, r := w.freeSlot(run)
	return r
}

// takeSlot takes a slot of the fleet-wide limit in the transaction that switches (protocol P8). A run that holds one
// keeps it for longer instead of taking a second, so that a slot stands for a run that switched within the window.
//
// Only the slot that is taken is compared: that others are free or not changes nothing about this one.
func (w *Workspace) takeSlot(run string) *Refusal {
	slot, r := w.freeSlot(run)
	if r != nil {
		return r
	}
	_, window := w.switchLimit()
	w.read[slot.Key] = slot.Mod
	w.Replace(store.Put(slot.Key, &recordv1.SwitchSlot{
		Service: w.name, Run: run, ExpireTime: timestamppb.New(w.Now.Add(window)),
	}))
	return nil
}

// freeSlot finds the slot the run holds, or a free one. Services that switch at the same moment reach for different ones:
// each for that of its place among the services, for at most one run acts on a service; and if it is taken, for one that
// the run's name chooses among those that are free.
func (w *Workspace) freeSlot(run string) (store.Record[*recordv1.SwitchSlot], *Refusal) {
	count, window := w.switchLimit()
	busy, mods := map[string]bool{}, map[string]int64{}
	var again time.Time
	for _, s := range store.List[*recordv1.SwitchSlot](w.view, store.SwitchSlots) {
		mods[s.Key] = s.Mod
		until := s.Msg.GetExpireTime().AsTime()
		if !w.Now.Before(until) {
			continue
		}
		if run != "" && s.Msg.GetRun() == run {
			return s, nil
		}
		busy[s.Key] = true
		if again.IsZero() || until.Before(again) {
			again = until
		}
	}
	var free []string
	for i := range count {
		if key := store.SwitchSlotKey(i); !busy[key] {
			free = append(free, key)
		}
	}
	// Slots beyond the count are those of a limit that was lowered: they count until their time has come.
	if len(busy) >= count || len(free) == 0 {
		r := refuse(SwitchLimit, "machines switched %d times within %v, all services together; that is the limit", count, window)
		r.Again = again
		return store.Record[*recordv1.SwitchSlot]{}, r
	}
	key := store.SwitchSlotKey(w.rank() % count)
	if busy[key] {
		h := fnv.New32a()
		_, _ = h.Write([]byte(run)) // never fails
		key = free[int(h.Sum32()%uint32(len(free)))]
	}
	return store.Record[*recordv1.SwitchSlot]{Key: key, Mod: mods[key]}, nil
}

// rank is the place of the service among all services, counted from 0.
func (w *Workspace) rank() int {
	n, own := 0, store.ServiceKey(w.name)
	w.view.Each(store.Services, func(key string, _ proto.Message, _, _ int64) bool {
		if key >= own {
			return false
		}
		n++
		return true
	})
	return n
}
