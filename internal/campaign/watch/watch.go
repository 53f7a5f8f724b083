// Package watch follows the streams of an installation as its clients do, from one replica to the next, and checks what a
// client may rely on: nothing goes back, nothing comes twice, nothing stays missing, and a cursor covers all that was sent
// before it.
//
// It promises to resume each broken stream from its last cursor at another replica of the seed's choice, and to begin anew
// only when the installation says so. It holds what an ordinary client holds: the last state of everything.
package watch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Report is what the watchers saw.
type Report struct {
	// Messages, resumed streams, and resets.
	Messages, Resumes, Resets int
	// Findings are what must not be.
	Findings []string
}

// String is one line of figures.
func (r Report) String() string {
	return fmt.Sprintf("%d messages, %d streams resumed, %d resets, %d findings", r.Messages, r.Resumes, r.Resets, len(r.Findings))
}

// Watchers follow streams until they are finished.
type Watchers struct {
	all  []*watcher
	stop context.CancelFunc
	wait sync.WaitGroup
}

// message is what the streams have in common.
type message struct {
	event    jv1.WatchEvent
	cursor   string
	name     string
	revision int64 // of the record: it grows with every change
	order    int64 // that must not fall: epoch of a route, revision of a run
}

// stream opens a stream at a cursor.
type stream func(ctx context.Context, conn *grpc.ClientConn, cursor string) (func() (message, error), error)

// watcher is one client.
type watcher struct {
	name   string
	open   stream
	conns  []*grpc.ClientConn
	random *rand.Rand

	mu     sync.Mutex
	cursor string
	known  map[string]int64 // order by name
	fresh  map[string]bool  // what a reset has confirmed; nil outside of one
	report Report
}

// Begin lets n watchers follow: routes and runs by turns.
func Begin(conns []*grpc.ClientConn, seed uint64, n int) *Watchers {
	ctx, stop := context.WithCancel(context.Background())
	w := &Watchers{stop: stop}
	for i := range n {
		x := &watcher{
			name: fmt.Sprintf("watcher %d", i), open: []stream{routes, runs}[i%2], conns: conns, known: map[string]int64{},
			random: rand.New(rand.NewPCG(seed, uint64(i)+1000)),
		}
		w.all = append(w.all, x)
		w.wait.Go(func() { x.follow(ctx) })
	}
	return w
}

// Finish waits until every watcher knows what the installation says, at most until ctx ends, ends them, and returns what
// they saw.
func (w *Watchers) Finish(ctx context.Context, conn *grpc.ClientConn) Report {
	var total Report
	for i, x := range w.all {
		for {
			missing := x.compare(ctx, conn, i%2 == 0)
			if missing == "" {
				break
			}
			if ctx.Err() != nil {
				total.Findings = append(total.Findings, x.name+" never learnt: "+missing)
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	w.stop()
	w.wait.Wait()
	for _, x := range w.all {
		total.Messages += x.report.Messages
		total.Resumes += x.report.Resumes
		total.Resets += x.report.Resets
		total.Findings = append(total.Findings, x.report.Findings...)
	}
	if total.Messages < 10*len(w.all) {
		total.Findings = append(total.Findings, fmt.Sprintf("%d messages: too few to prove anything", total.Messages))
	}
	return total
}

func (x *watcher) follow(ctx context.Context) {
	for ctx.Err() == nil {
		x.one(ctx, x.conns[x.random.IntN(len(x.conns))])
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// one follows one stream until it breaks, or for a few seconds: then it moves on by itself.
func (x *watcher) one(ctx context.Context, conn *grpc.ClientConn) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(1000+x.random.IntN(5000))*time.Millisecond)
	defer cancel()
	next, err := x.open(ctx, conn, x.cursor)
	if err != nil {
		return
	}
	x.report.Resumes++
	for {
		m, err := next()
		if err != nil {
			return
		}
		x.take(m)
	}
}

// take checks one message.
func (x *watcher) take(m message) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.report.Messages++
	wrong := func(format string, args ...any) {
		x.report.Findings = append(x.report.Findings, x.name+": "+fmt.Sprintf(format, args...))
	}
	if to, from := revisionOf(m.cursor), revisionOf(x.cursor); m.cursor != "" && to < from && m.event != jv1.WatchEvent_WATCH_EVENT_RESET {
		wrong("the cursor goes back from %s to %s", x.cursor, m.cursor)
	}
	switch m.event {
	case jv1.WatchEvent_WATCH_EVENT_RESET:
		x.report.Resets++
		x.fresh = map[string]bool{}
	case jv1.WatchEvent_WATCH_EVENT_PUT:
		if m.order < x.known[m.name] {
			wrong("%s goes back from %d to %d", m.name, x.known[m.name], m.order)
		}
		// A message may be ahead of its cursor, as the first of several of one revision is; never behind the last one.
		if at := revisionOf(x.cursor); x.fresh == nil && m.revision > 0 && m.revision <= at {
			wrong("%s has revision %d, and the cursor %s said that all up to it was sent", m.name, m.revision, x.cursor)
		}
		x.known[m.name] = m.order
		if x.fresh != nil {
			x.fresh[m.name] = true
		}
	case jv1.WatchEvent_WATCH_EVENT_DELETE:
		delete(x.known, m.name)
	case jv1.WatchEvent_WATCH_EVENT_BOOKMARK:
		x.confirm()
	}
	if m.cursor != "" || m.event == jv1.WatchEvent_WATCH_EVENT_RESET {
		x.cursor = m.cursor
	}
}

// confirm ends a reset: what it did not name is gone.
func (x *watcher) confirm() {
	if x.fresh == nil {
		return
	}
	for name := range x.known {
		if !x.fresh[name] {
			delete(x.known, name)
		}
	}
	x.fresh = nil
}

// compare tells what the watcher doesn't know yet of what the installation says.
func (x *watcher) compare(ctx context.Context, conn *grpc.ClientConn, ofRoutes bool) string {
	want := map[string]int64{}
	if ofRoutes {
		got, err := jv1.NewContinuityServiceClient(conn).ListContinuity(ctx, &jv1.ListContinuityRequest{})
		if err != nil {
			return err.Error()
		}
		for _, s := range got.GetStates() {
			want[s.GetService()] = s.GetEpoch()
		}
	} else {
		got, err := jv1.NewRunServiceClient(conn).ListRuns(ctx, &jv1.ListRunsRequest{Live: true, PageSize: 1000})
		if err != nil {
			return err.Error()
		}
		for _, r := range got.GetRuns() {
			want[r.GetName()] = r.GetRevision()
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for name, order := range want {
		if x.known[name] < order {
			return fmt.Sprintf("%s is at %d, not at %d", name, order, x.known[name])
		}
	}
	return ""
}

// revisionOf is the revision of a cursor, 0 when it is empty.
func revisionOf(cursor string) int64 {
	n, err := strconv.ParseInt(cursor[strings.LastIndexByte(cursor, ':')+1:], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func routes(ctx context.Context, conn *grpc.ClientConn, cursor string) (func() (message, error), error) {
	s, err := jv1.NewContinuityServiceClient(conn).WatchContinuity(ctx, &jv1.WatchContinuityRequest{Cursor: cursor})
	if err != nil {
		return nil, fmt.Errorf("watch routes: %w", err)
	}
	return func() (message, error) {
		m, err := s.Recv()
		// What a state says may be newer than the change that told of it, so its revision says nothing about the cursor.
		return message{event: m.GetEvent(), cursor: m.GetCursor(), name: m.GetState().GetService(), order: m.GetState().GetEpoch()}, err
	}, nil
}

func runs(ctx context.Context, conn *grpc.ClientConn, cursor string) (func() (message, error), error) {
	s, err := jv1.NewRunServiceClient(conn).WatchRuns(ctx, &jv1.WatchRunsRequest{Cursor: cursor})
	if err != nil {
		return nil, fmt.Errorf("watch runs: %w", err)
	}
	return func() (message, error) {
		m, err := s.Recv()
		return message{
			event: m.GetEvent(), cursor: m.GetCursor(), name: m.GetRun().GetName(), revision: m.GetRun().GetRevision(), order: m.GetRun().GetRevision(),
		}, err
	}, nil
}
