package api_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// allRuns follows the tokens of a list to its end.
func allRuns(t *testing.T, r *rig, service string, size int32) (names []string, pages int) {
	t.Helper()
	token := ""
	for {
		out, err := r.runs().ListRuns(t.Context(), &jv1.ListRunsRequest{Service: service, PageSize: size, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, run := range out.GetRuns() {
			names = append(names, run.GetName())
		}
		pages++
		if token = out.GetNextPageToken(); token == "" {
			return names, pages
		}
	}
}

// Wherever an ended run stands, a list gives it once, newest first, page by page.
func TestArchivedRunsAreListedAmongTheOthers(t *testing.T) {
	r := start(t, options{})
	rng := rand.New(rand.NewPCG(1, 2))
	var ops []store.Op
	want := map[string][]string{}
	for i := range 700 {
		run := &jv1.Run{Name: fmt.Sprintf("r-%04d", i), Service: "chat", EndTime: timestamppb.Now()}
		if i%7 == 0 {
			run.Service = "video"
		}
		want[run.GetService()] = append(want[run.GetService()], run.GetName())
		want[""] = append(want[""], run.GetName())
		op := new(store.Compressor).Put(store.ArchivedRunKey(run.GetName()), &recordv1.ArchivedRun{Run: run})
		if rng.IntN(5) == 0 {
			op = store.Put(store.RunKey(run.GetName()), run)
		}
		ops = append(ops, op)
	}
	for len(ops) > 0 {
		n := min(len(ops), 90)
		r.put(ops[:n]...)
		ops = ops[n:]
	}
	for service, names := range want {
		slices.Reverse(names)
		for _, size := range []int32{1000, 300, 37} {
			got, _ := allRuns(t, r, service, size)
			if !slices.Equal(got, names) {
				t.Errorf("service %q, pages of %d: %d runs %v..., want %d", service, size, len(got), got[:min(5, len(got))], len(names))
			}
		}
	}
	if got, _ := allRuns(t, r, "none", 10); len(got) != 0 {
		t.Errorf("a service without runs has %v", got)
	}
}

// A list that finds hardly anything in a large archive gives what it found so far and leads on.
func TestAListReadsABoundedPartOfTheArchive(t *testing.T) {
	r := start(t, options{})
	var ops []store.Op
	for i := range 12_000 {
		run := &jv1.Run{Name: fmt.Sprintf("r-%05d", i), Service: "chat"}
		if i == 3 || i == 7000 {
			run.Service = "video"
		}
		ops = append(ops, store.Put(store.ArchivedRunKey(run.GetName()), &recordv1.ArchivedRun{Run: run}))
	}
	ops = append(ops, store.Put(store.RunKey("r-05000-live"), &jv1.Run{Name: "r-05000-live", Service: "video"}))
	for len(ops) > 0 {
		n := min(len(ops), 100)
		r.put(ops[:n]...)
		ops = ops[n:]
	}
	got, pages := allRuns(t, r, "video", 100)
	if strings.Join(got, " ") != "r-07000 r-05000-live r-00003" || pages != 3 {
		t.Errorf("%v in %d pages", got, pages)
	}
}

// An archived run is shown like any other: itself, its events, and to whoever watches it.
func TestAnArchivedRunIsShown(t *testing.T) {
	r := start(t, options{})
	r.put(
		store.Put(store.ArchivedRunKey("r-1"), &recordv1.ArchivedRun{Run: &jv1.Run{Name: "r-1", Service: "chat", State: jv1.RunState_RUN_STATE_SUCCEEDED}}),
		store.Put(store.RunEventsKey("r-1", 1), &recordv1.RunEvents{Events: []*jv1.RunEvent{{Sequence: 1}}}),
		store.Put(store.ArchivedTriggerKey("g-1"), &jv1.Trigger{Name: "g-1", Service: "chat"}),
		store.Put(store.TriggerKey("g-2"), &jv1.Trigger{Name: "g-2", Service: "chat"}),
	)
	run, err := r.runs().GetRun(t.Context(), &jv1.GetRunRequest{Name: "r-1"})
	if err != nil || run.GetState() != jv1.RunState_RUN_STATE_SUCCEEDED || run.GetRevision() == 0 {
		t.Errorf("%v, %v", run, err)
	}
	events, err := r.runs().ListRunEvents(t.Context(), &jv1.ListRunEventsRequest{Run: "r-1"})
	if err != nil || len(events.GetEvents()) != 1 {
		t.Errorf("%v, %v", events, err)
	}
	stream, err := r.runs().WatchRuns(t.Context(), &jv1.WatchRunsRequest{Name: "r-1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []jv1.WatchEvent{jv1.WatchEvent_WATCH_EVENT_PUT, jv1.WatchEvent_WATCH_EVENT_BOOKMARK} {
		if m, err := stream.Recv(); err != nil || m.GetEvent() != want || (m.GetRun() == nil) != (want != jv1.WatchEvent_WATCH_EVENT_PUT) {
			t.Fatalf("%v, %v, want %v", m, err, want)
		}
	}
	triggers, err := r.detectors().ListTriggers(t.Context(), &jv1.ListTriggersRequest{})
	if err != nil || len(triggers.GetTriggers()) != 2 {
		t.Errorf("%v, %v", triggers, err)
	}
	_, err = r.runs().GetRun(t.Context(), &jv1.GetRunRequest{Name: "r-2"})
	wants(t, err, codes.NotFound, "NOT_FOUND")
}

// Whoever was told of a run finds it, also at a replica whose mirror has not heard of it yet.
func TestARunIsFoundBeforeTheMirrorHasIt(t *testing.T) {
	r := start(t, options{})
	deaf := make(chan struct{})
	defer close(deaf)
	r.backend.FilterWatch(func(b store.Batch) (store.Batch, bool) {
		<-deaf
		return b, true
	})
	result, err := r.store.Commit(t.Context(), store.Txn{Then: []store.Op{store.Put(store.RunKey("r-new"), &jv1.Run{Name: "r-new", Service: "chat"})}})
	if err != nil || !result.Committed {
		t.Fatalf("commit: %+v, %v", result, err)
	}
	run, err := r.runs().GetRun(t.Context(), &jv1.GetRunRequest{Name: "r-new"})
	if err != nil || run.GetService() != "chat" || run.GetRevision() != result.Revision {
		t.Errorf("found %v, %v; it was stored at revision %d", run, err, result.Revision)
	}
}
