package api

import (
	"context"
	"errors"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// runbookService serves jurymast.v1.RunbookService.
type runbookService struct {
	jv1.UnsafeRunbookServiceServer
	*common
	planner Planner
}

// ApplyRunbook implements [jv1.RunbookServiceServer].
func (s *runbookService) ApplyRunbook(ctx context.Context, req *jv1.ApplyRunbookRequest) (*jv1.ApplyRunbookResponse, error) {
	d, err := declareRunbook(req.GetRunbook())
	if err != nil {
		return nil, err
	}
	d.expected = req.GetExpectedRevision()
	out, err := s.apply(ctx, application{
		batch: []*declared{d}, request: req, requestID: req.GetRequestId(), validateOnly: req.GetValidateOnly(),
	})
	if err != nil {
		return nil, renamed(err, "runbook.")
	}
	answer := &jv1.ApplyRunbookResponse{Warnings: out.warnings}
	if answer.Runbook, err = s.named(d.name, 0); req.GetValidateOnly() && err != nil {
		answer.Runbook, err = req.GetRunbook(), nil // it is not stored
	}
	return answer, err
}

// declareRunbook makes the runbook of a request ready.
func declareRunbook(rb *jv1.Runbook) (*declared, error) {
	return declare(&jv1.Resource{Kind: &jv1.Resource_Runbook{Runbook: rb}})
}

// renamed gives the mistakes of a single runbook, which was judged as the only resource of a batch, their own paths.
func renamed(err error, prefix string) error {
	var wrong *fault
	if !errors.As(err, &wrong) || len(wrong.violations()) == 0 {
		return err
	}
	violations := wrong.violations()
	for i, v := range violations {
		violations[i].Field = prefix + strings.TrimPrefix(v.Field, "resources[0].runbook.")
	}
	return invalid(violations...)
}

// named returns a stored runbook, or one of its revisions.
func (s *runbookService) named(name string, version int64) (*jv1.Runbook, error) {
	if version == 0 {
		return lookUp[*jv1.Runbook](s.common, "runbook", store.RunbookKey(name), name)
	}
	return lookUp[*jv1.Runbook](s.common, "runbook revision", store.RunbookRevisionKey(name, version), name)
}

// GetRunbook implements [jv1.RunbookServiceServer].
func (s *runbookService) GetRunbook(_ context.Context, req *jv1.GetRunbookRequest) (*jv1.Runbook, error) {
	return s.named(req.GetName(), req.GetVersion())
}

// ListRunbooks implements [jv1.RunbookServiceServer].
func (s *runbookService) ListRunbooks(_ context.Context, req *jv1.ListRunbooksRequest) (*jv1.ListRunbooksResponse, error) {
	all, next, err := listPage[*jv1.Runbook](s.common, store.Runbooks, req.GetPageSize(), req.GetPageToken())
	return &jv1.ListRunbooksResponse{Runbooks: all, NextPageToken: next}, err
}

// DeleteRunbook implements [jv1.RunbookServiceServer].
func (s *runbookService) DeleteRunbook(ctx context.Context, req *jv1.DeleteRunbookRequest) (*jv1.DeleteRunbookResponse, error) {
	revision, err := s.remove(ctx, removal{kind: kinds["runbook"], name: req.GetName(), expected: req.GetExpectedRevision(), request: req})
	if err != nil {
		return nil, err
	}
	return &jv1.DeleteRunbookResponse{Revision: revision}, nil
}

// ValidateRunbook implements [jv1.RunbookServiceServer]. The mistakes are the answer here, not an error.
func (s *runbookService) ValidateRunbook(ctx context.Context, req *jv1.ValidateRunbookRequest) (*jv1.ValidateRunbookResponse, error) {
	out, err := s.checked(ctx, req.GetRunbook(), req)
	var wrong *fault
	switch {
	case err == nil:
		return &jv1.ValidateRunbookResponse{Warnings: out.warnings}, nil
	case errors.As(renamed(err, ""), &wrong) && len(wrong.violations()) > 0:
		answer := &jv1.ValidateRunbookResponse{}
		for _, v := range wrong.violations() {
			answer.Problems = append(answer.Problems, &jv1.Problem{Field: v.Field, Message: v.Message})
		}
		return answer, nil
	default:
		return nil, err
	}
}

// checked judges a runbook without storing it.
func (s *runbookService) checked(ctx context.Context, rb *jv1.Runbook, request proto.Message) (*applied, error) {
	d, err := declareRunbook(rb)
	if err != nil {
		return nil, err
	}
	return s.apply(ctx, application{batch: []*declared{d}, request: request, validateOnly: true})
}

// PlanRunbook implements [jv1.RunbookServiceServer].
func (s *runbookService) PlanRunbook(ctx context.Context, req *jv1.PlanRunbookRequest) (*jv1.Plan, error) {
	if (req.GetName() == "") == (req.GetRunbook() == nil) {
		return nil, invalid(Violation{Field: "name", Message: "give exactly one of name and runbook"})
	}
	if req.GetRunbook() != nil {
		if _, err := s.checked(ctx, req.GetRunbook(), req); err != nil {
			return nil, renamed(err, "runbook.")
		}
	}
	return s.planner.Plan(ctx, req)
}

// ListRunbookRevisions implements [jv1.RunbookServiceServer]. A removed runbook still has its revisions.
func (s *runbookService) ListRunbookRevisions(_ context.Context, req *jv1.ListRunbookRevisionsRequest) (*jv1.ListRunbookRevisionsResponse, error) {
	if !isName(req.GetName()) {
		return nil, notFound("runbook", req.GetName())
	}
	prefix := store.RunbookRevisionKey(req.GetName(), 0)
	prefix = prefix[:strings.LastIndexByte(prefix, '/')+1]
	out := &jv1.ListRunbookRevisionsResponse{}
	s.store.Read(func(v store.View) { out.Revisions = shownAll(store.List[*jv1.Runbook](v, prefix)) })
	if len(out.GetRevisions()) == 0 {
		return nil, notFound("runbook", req.GetName())
	}
	slices.Reverse(out.Revisions)
	return out, nil
}
