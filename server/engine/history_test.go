package engine_test

import (
	"context"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/server/store"
)

// record writes the histories of this version; done once for each release: go test ./server/engine -run TestRecordHistories
// -record v1.2.
var record = flag.String("record", "", "name under which the histories of this version are kept")

// history is everything one version wrote while it carried out a scenario, transaction by transaction, and what came of it.
type history struct {
	Scenario string
	Expected recordedOutcome
	Writes   []recordedWrites
}

// recordedOutcome is an outcome as files keep it.
type recordedOutcome struct {
	Active   string
	Queueing bool
	Epoch    int64
	State    string
	Outbox   string
	Effects  string
}

func outcomeIn(o outcome) recordedOutcome {
	return recordedOutcome{o.active, o.queueing, o.epoch, o.state.String(), o.outbox, o.effects}
}

// recordedWrites are those of one transaction, and how much of the outside world had been called before it.
type recordedWrites struct {
	At      time.Duration // since the beginning
	Put     map[string][]byte
	Deleted []string
	Effects []string
}

// recorder is a backend that keeps what is written through it.
type recorder struct {
	store.Backend
	sink  *sink
	begin time.Time

	mu     sync.Mutex
	writes []recordedWrites
}

func (b *recorder) Commit(ctx context.Context, txn store.Txn) (store.Result, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	res, err := b.Backend.Commit(ctx, txn)
	if err != nil || !res.Committed {
		return res, err
	}
	w := recordedWrites{At: time.Since(b.begin), Put: map[string][]byte{}, Effects: b.sink.keys()}
	for _, op := range txn.Then {
		switch {
		case strings.HasPrefix(op.Key, store.Sessions): // those of the dead are gone
		case op.Delete:
			w.Deleted = append(w.Deleted, op.Key)
		default:
			w.Put[op.Key] = op.Value
		}
	}
	if len(w.Put)+len(w.Deleted) > 0 {
		b.writes = append(b.writes, w)
	}
	return res, err
}

// historyOf carries a scenario out and keeps everything.
func historyOf(t *testing.T, s scenario) *history {
	t.Helper()
	h := &history{Scenario: s.name}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		memory := store.NewMemory(store.MemoryOptions{})
		kept := &recorder{Backend: memory, begin: time.Now(), sink: &sink{}}
		r := newRig(ctx, t, kept, pace{})
		r.sink.answer = sinkAnswer
		kept.sink = r.sink
		r.probes.set("b", 3)
		r.catalog(s.book)
		gw := &gateway{rig: r, name: "gw", queued: s.queued}
		gw.report()
		d := newDying(r.backend, boundary{})
		s.request(t, r, r.first, d)
		settle(r, r.first, d, gw.work)
		h.Expected = outcomeIn(s.judge(t, r))
		r.first.kill()
		cancel()
		h.Writes = kept.writes
		if err := memory.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func TestRecordHistories(t *testing.T) {
	if *record == "" {
		t.Skip("only with -record")
	}
	dir := filepath.Join("testdata", "histories", *record)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	for _, s := range scenarios() {
		text, err := json.MarshalIndent(historyOf(t, s), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		name := strings.ReplaceAll(s.name, " ", "_") + ".json"
		if err := os.WriteFile(filepath.Join(dir, name), append(text, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// resume lays the first n transactions of a history down and lets a replica of this version go on from there.
func (h *history) resume(t *testing.T, n int) (out recordedOutcome) {
	t.Helper()
	inBubble(t, func(t *testing.T, r *rig) {
		r.sink.answer = sinkAnswer
		r.probes.set("b", 3)
		r.first.stop()
		r.first.done.Wait()
		r.first.stop = func() {}
		begin := time.Now()
		for _, w := range h.Writes[:n] {
			time.Sleep(w.At - time.Since(begin))
			var ops []store.Op
			for _, key := range slices.Sorted(maps.Keys(w.Put)) {
				ops = append(ops, store.Op{Key: key, Value: w.Put[key]})
			}
			for _, key := range w.Deleted {
				ops = append(ops, store.Delete(key))
			}
			r.commit(ops...)
		}
		d := newDying(r.backend, boundary{})
		p := r.replica("next-version", d)
		defer p.kill()
		gw := &gateway{rig: r, name: "gw"}
		gw.remember()
		settle(r, p, d, gw.work)
		out = outcomeIn(scenario{}.judge(t, r))
		// What was called before the version changed counts as well.
		effects := map[string]bool{}
		run := r.only().GetName()
		for _, k := range h.Writes[n-1].Effects {
			effects[strings.ReplaceAll(k, run, "")] = true
		}
		for _, k := range r.sink.keys() {
			effects[strings.ReplaceAll(k, run, "")] = true
		}
		out.Effects = strings.Join(slices.Sorted(maps.Keys(effects)), " ")
	})
	return out
}

// begun is the number of transactions after which the run is there.
func (h *history) begun() int {
	for i, w := range h.Writes {
		for key := range w.Put {
			if strings.HasPrefix(key, store.Runs) {
				return i + 1
			}
		}
	}
	return 0
}

// A run that an earlier version began is ended by this one as that one would have, whatever was written last before the
// version changed: what is stored is understood, what was done is not done again.
func TestRunsOfEarlierVersionsAreEnded(t *testing.T) {
	files, err := filepath.Glob("testdata/histories/*/*.json")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d histories, %v", len(files), err)
	}
	resumed := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		h := &history{}
		if err := json.Unmarshal(text, h); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		first := h.begun()
		if first == 0 {
			t.Fatalf("%s: no run was begun", file)
		}
		t.Run(strings.TrimPrefix(file, "testdata/histories/"), func(t *testing.T) {
			for n := first; n <= len(h.Writes); n++ {
				if got := h.resume(t, n); got != h.Expected {
					t.Errorf("after %d of %d transactions:\n got %+v\nwant %+v", n, len(h.Writes), got, h.Expected)
				}
				resumed++
			}
		})
	}
	if resumed < 20 {
		t.Errorf("only %d times a run was resumed", resumed)
	}
	t.Logf("%d histories, resumed %d times", len(files), resumed)
}
