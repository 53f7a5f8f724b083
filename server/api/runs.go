package api

import (
	"context"
	"strings"

	"google.golang.org/grpc"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/archive"
	"github.com/jurymast/jurymast/server/store"
)

// defaultEvents is the page size of a run's events when none is asked for.
const defaultEvents = 1000

// runService serves jurymast.v1.RunService.
type runService struct {
	jv1.UnsafeRunServiceServer
	*common
	runs Runs
}

// StartRun implements [jv1.RunServiceServer].
func (s *runService) StartRun(ctx context.Context, req *jv1.StartRunRequest) (*jv1.Run, error) {
	return s.runs.Start(ctx, req)
}

// CancelRun implements [jv1.RunServiceServer].
func (s *runService) CancelRun(ctx context.Context, req *jv1.CancelRunRequest) (*jv1.Run, error) {
	return s.runs.Cancel(ctx, req)
}

// PauseRun implements [jv1.RunServiceServer].
func (s *runService) PauseRun(ctx context.Context, req *jv1.PauseRunRequest) (*jv1.Run, error) {
	return s.runs.Pause(ctx, req)
}

// ResumeRun implements [jv1.RunServiceServer].
func (s *runService) ResumeRun(ctx context.Context, req *jv1.ResumeRunRequest) (*jv1.Run, error) {
	return s.runs.Resume(ctx, req)
}

// DecideRun implements [jv1.RunServiceServer].
func (s *runService) DecideRun(ctx context.Context, req *jv1.DecideRunRequest) (*jv1.Run, error) {
	return s.runs.Decide(ctx, req)
}

// SkipStep implements [jv1.RunServiceServer].
func (s *runService) SkipStep(ctx context.Context, req *jv1.SkipStepRequest) (*jv1.Run, error) {
	return s.runs.Skip(ctx, req)
}

// RetryStep implements [jv1.RunServiceServer].
func (s *runService) RetryStep(ctx context.Context, req *jv1.RetryStepRequest) (*jv1.Run, error) {
	return s.runs.Retry(ctx, req)
}

// GetRun implements [jv1.RunServiceServer].
func (s *runService) GetRun(ctx context.Context, req *jv1.GetRunRequest) (*jv1.Run, error) {
	return s.run(ctx, req.GetName())
}

// run returns a run, archived or not.
func (s *runService) run(ctx context.Context, name string) (*jv1.Run, error) {
	return lookUpEnded(ctx, s.common, "run", store.RunKey(name), name, archive.Run)
}

// ListRuns implements [jv1.RunServiceServer].
func (s *runService) ListRuns(ctx context.Context, req *jv1.ListRunsRequest) (*jv1.ListRunsResponse, error) {
	p, err := newPage(req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	keep := func(r *jv1.Run) bool {
		return (req.GetService() == "" || r.GetService() == req.GetService()) &&
			(req.GetRunbook() == "" || r.GetRunbook() == req.GetRunbook()) &&
			(!req.GetLive() || r.GetEndTime() == nil)
	}
	var l listed[*jv1.Run]
	if req.GetLive() {
		s.store.Read(func(v store.View) { l = descending(v, store.Runs, p, keep) })
	} else if l, err = listEnded(ctx, s.common, family[*jv1.Run]{store.Runs, store.ArchivedRuns, archive.Runs}, p, keep); err != nil {
		return nil, err
	}
	return &jv1.ListRunsResponse{Runs: shownAll(l.records), NextPageToken: l.next}, nil
}

// WatchRuns implements [jv1.RunServiceServer]. A run that is gone, or archived, is told to everybody who asked for all
// services: whom it belonged to is gone with it.
func (s *runService) WatchRuns(req *jv1.WatchRunsRequest, stream grpc.ServerStreamingServer[jv1.WatchRunsResponse]) error {
	from, err := fromCursor(req.GetCursor())
	if err != nil {
		return err
	}
	prefix := store.Runs
	if req.GetName() != "" {
		if !isName(req.GetName()) {
			return notFound("run", req.GetName())
		}
		prefix = store.RunKey(req.GetName())
	}
	// Nothing comes any more of a run that is archived: it is told as it ended.
	archived := func() []change[*jv1.Run] {
		run, err := s.run(stream.Context(), req.GetName())
		if req.GetName() == "" || err != nil {
			return nil
		}
		return []change[*jv1.Run]{{value: run}}
	}
	return follow(stream.Context(), s.signals, s.store, watch[*jv1.Run]{
		prefixes: []string{prefix},
		from:     from,
		translate: func(u store.Update) []change[*jv1.Run] {
			var out []change[*jv1.Run]
			for _, e := range u.Events {
				name := strings.TrimPrefix(e.Key, store.Runs)
				run, ok := e.Msg.(*jv1.Run)
				switch {
				case req.GetName() != "" && name != req.GetName():
				case !ok:
					out = append(out, change[*jv1.Run]{value: &jv1.Run{Name: name}, gone: true})
				case req.GetService() == "" || run.GetService() == req.GetService():
					out = append(out, change[*jv1.Run]{value: shown(store.Record[*jv1.Run]{Msg: run, Mod: e.ModRevision})})
				}
			}
			if u.Reset && len(out) == 0 {
				return archived()
			}
			return out
		},
		send: func(event jv1.WatchEvent, cursor string, run *jv1.Run) error {
			return stream.Send(&jv1.WatchRunsResponse{Event: event, Cursor: cursor, Run: run})
		},
	})
}

// ListRunEvents implements [jv1.RunServiceServer]. Events are read from the store itself; they are not mirrored.
func (s *runService) ListRunEvents(ctx context.Context, req *jv1.ListRunEventsRequest) (*jv1.ListRunEventsResponse, error) {
	if _, err := s.run(ctx, req.GetRun()); err != nil {
		return nil, err
	}
	size := int(req.GetPageSize())
	if size == 0 {
		size = defaultEvents
	}
	events, more, err := archive.Events(ctx, s.store, req.GetRun(), req.GetAfter(), size)
	if err != nil {
		return nil, err
	}
	return &jv1.ListRunEventsResponse{Events: events, More: more}, nil
}
