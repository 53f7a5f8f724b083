// Package clienttest is a server for the tests of programs that follow a state with package client: it serves the
// streams and reports of ContinuityService from memory, over a real connection, and can be made to fail in the ways
// real servers do.
//
// It promises what the API promises of cursors, resets and bookmarks. It never judges, guards or stores anything, and
// its other methods answer UNIMPLEMENTED.
package clienttest

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Server is a ContinuityService in memory. All methods are safe for concurrent use.
type Server struct {
	jv1.UnimplementedContinuityServiceServer

	t       testing.TB
	address string
	grpc    *grpc.Server

	mu        sync.Mutex
	life      string
	revision  int64
	compacted int64
	states    map[string]*jv1.ContinuityState
	history   []change
	changed   chan struct{}
	live      bool
	asOf      time.Time
	mute      bool
	refuse    error
	validFor  time.Duration
	bookmark  time.Duration
	reports   map[string]map[string]int64
	queues    map[string]map[string]*jv1.QueueStatus
	lives     map[string]string
	calls     int
	cursors   []string
}

type change struct {
	revision int64
	service  string
	state    *jv1.ContinuityState // nil: deleted
}

// New starts a server on a free port of 127.0.0.1. It is stopped with the test.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{
		t: t, address: "127.0.0.1:0", life: "1000-a", revision: 1,
		states: map[string]*jv1.ContinuityState{}, changed: make(chan struct{}), live: true,
		validFor: time.Minute, bookmark: 20 * time.Millisecond, reports: map[string]map[string]int64{},
		queues: map[string]map[string]*jv1.QueueStatus{}, lives: map[string]string{},
	}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Address is where the server listens; it stays the same when the server is stopped and started again.
func (s *Server) Address() string { return s.address }

// Start lets a stopped server listen again.
func (s *Server) Start() {
	s.t.Helper()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", s.address)
	if err != nil {
		s.t.Fatalf("listening: %v", err)
	}
	s.address = l.Addr().String()
	g := grpc.NewServer()
	jv1.RegisterContinuityServiceServer(g, s)
	s.mu.Lock()
	s.grpc = g
	s.mu.Unlock()
	go func() { _ = g.Serve(l) }()
}

// Stop breaks every connection and listens no more. The states are kept. Safe to call twice.
func (s *Server) Stop() {
	s.mu.Lock()
	g := s.grpc
	s.mu.Unlock()
	g.Stop()
}

// Put stores a state as the newest: it gets the next revision, and the restore epoch of the server.
func (s *Server) Put(state *jv1.ContinuityState) {
	s.edit(func() {
		s.revision++
		st := proto.CloneOf(state)
		st.Revision, st.RestoreEpoch = s.revision, s.life
		s.states[st.GetService()] = st
		s.history = append(s.history, change{s.revision, st.GetService(), st})
	})
}

// Delete removes a service.
func (s *Server) Delete(service string) {
	s.edit(func() {
		s.revision++
		delete(s.states, service)
		s.history = append(s.history, change{s.revision, service, nil})
	})
}

// Restore makes the server one whose store was set to a place of another life: with the given restore epoch and
// revision, and nothing stored.
func (s *Server) Restore(life string, revision int64) {
	s.edit(func() {
		s.life, s.revision, s.compacted = life, revision, revision
		s.states, s.history = map[string]*jv1.ContinuityState{}, nil
	})
}

// Compact forgets the history, so that older cursors are answered by a reset.
func (s *Server) Compact() {
	s.edit(func() { s.compacted, s.history = s.revision, nil })
}

// SetLive says whether the server hears its store.
func (s *Server) SetLive(live bool) {
	s.edit(func() {
		if s.live && !live {
			s.asOf = time.Now()
		}
		s.live = live
	})
}

// Mute makes the server keep its connections and say nothing any more, as a stopped process does.
func (s *Server) Mute(mute bool) { s.edit(func() { s.mute = mute }) }

// Refuse makes every call fail with err; nil ends it. Open streams end too.
func (s *Server) Refuse(err error) { s.edit(func() { s.refuse = err }) }

// SetValidFor says how long reports of what is in force count.
func (s *Server) SetValidFor(d time.Duration) { s.edit(func() { s.validFor = d }) }

// Reports returns the epochs in force by subscriber, as last reported, and the number of reports.
func (s *Server) Reports() (epochs map[string]map[string]int64, calls int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]map[string]int64{}
	for k, v := range s.reports {
		out[k] = maps.Clone(v)
	}
	return out, s.calls
}

// Queues returns the queues by subscriber, as last reported. Shared; not to be changed.
func (s *Server) Queues() map[string]map[string]*jv1.QueueStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.queues)
}

// Lives returns the restore epoch that each subscriber last reported.
func (s *Server) Lives() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.lives)
}

// Cursors returns the cursor of each stream that was opened.
func (s *Server) Cursors() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.cursors)
}

func (s *Server) edit(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

// ReportInForce implements jv1.ContinuityServiceServer.
func (s *Server) ReportInForce(_ context.Context, req *jv1.ReportInForceRequest) (*jv1.ReportInForceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return nil, s.refuse
	}
	s.reports[req.GetSubscriber()] = maps.Clone(req.GetEpochs())
	s.queues[req.GetSubscriber()] = req.GetQueues()
	s.lives[req.GetSubscriber()] = req.GetRestoreEpoch()
	s.calls++
	return &jv1.ReportInForceResponse{ValidFor: durationpb.New(s.validFor)}, nil
}

// WatchContinuity implements jv1.ContinuityServiceServer.
func (s *Server) WatchContinuity(req *jv1.WatchContinuityRequest, stream grpc.ServerStreamingServer[jv1.WatchContinuityResponse]) error {
	s.mu.Lock()
	s.cursors = append(s.cursors, req.GetCursor())
	refuse := s.refuse
	s.mu.Unlock()
	if refuse != nil {
		return refuse
	}
	at, reset, err := s.resume(req.GetCursor())
	if err != nil {
		return err
	}
	if reset {
		if err := stream.Send(&jv1.WatchContinuityResponse{Event: jv1.WatchEvent_WATCH_EVENT_RESET}); err != nil {
			return err
		}
	}
	life := ""
	if !reset && req.GetCursor() != "" {
		life, _, _ = strings.Cut(req.GetCursor(), "/")
	}
	bookmark := time.NewTicker(s.bookmark)
	defer bookmark.Stop()
	for {
		messages, changed, nowLife, nowAt, err := s.since(req.GetServices(), life, at)
		if err != nil {
			return err
		}
		for _, m := range messages {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
		life, at = nowLife, nowAt
		select {
		case <-changed:
		case <-bookmark.C:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

func (s *Server) resume(cursor string) (at int64, reset bool, err error) {
	if cursor == "" {
		return 0, false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	life, rev, _ := strings.Cut(cursor, "/")
	at, err = strconv.ParseInt(rev, 10, 64)
	if err != nil {
		return 0, false, status.Errorf(codes.InvalidArgument, "cursor %q: %v", cursor, err)
	}
	return at, life != s.life || at < s.compacted || at > s.revision, nil
}

// since returns what a stream at a place has to send: everything when the place is not of this life.
func (s *Server) since(only []string, life string, at int64) (out []*jv1.WatchContinuityResponse, changed <-chan struct{}, nowLife string, nowAt int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return nil, nil, "", 0, s.refuse
	}
	if s.mute {
		return nil, s.changed, life, at, nil
	}
	wanted := func(service string) bool { return len(only) == 0 || slices.Contains(only, service) }
	cursor := func(revision int64) string { return fmt.Sprintf("%s/%d", s.life, revision) }
	if life != s.life || at < s.compacted {
		if life != "" {
			out = append(out, &jv1.WatchContinuityResponse{Event: jv1.WatchEvent_WATCH_EVENT_RESET})
		}
		for _, service := range slices.Sorted(maps.Keys(s.states)) {
			if wanted(service) {
				out = append(out, &jv1.WatchContinuityResponse{Event: jv1.WatchEvent_WATCH_EVENT_PUT, State: s.states[service]})
			}
		}
	} else {
		for _, c := range s.history {
			if c.revision <= at || !wanted(c.service) {
				continue
			}
			m := &jv1.WatchContinuityResponse{Event: jv1.WatchEvent_WATCH_EVENT_PUT, Cursor: cursor(c.revision), State: c.state}
			if c.state == nil {
				m.Event, m.State = jv1.WatchEvent_WATCH_EVENT_DELETE, &jv1.ContinuityState{Service: c.service, Revision: c.revision, RestoreEpoch: s.life}
			}
			out = append(out, m)
		}
	}
	asOf := s.asOf
	if s.live {
		asOf = time.Now()
	}
	out = append(out, &jv1.WatchContinuityResponse{
		Event: jv1.WatchEvent_WATCH_EVENT_BOOKMARK, Cursor: cursor(s.revision),
		Freshness: &jv1.Freshness{Live: s.live, AsOf: timestamppb.New(asOf)},
	})
	return out, s.changed, s.life, s.revision, nil
}
