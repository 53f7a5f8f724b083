package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/audit"
	"github.com/jurymast/jurymast/server/store"
)

// maxTries bounds how often a change is decided anew when what it rests on changes under it.
const maxTries = 5

// errContended says that it changed each time.
var errContended = &fault{
	code: codes.Aborted, reason: reasonContended, message: "what this rests on kept changing while it was stored; try again",
}

// catalogService serves jurymast.v1.CatalogService.
type catalogService struct {
	jv1.UnsafeCatalogServiceServer
	*common
}

// Apply implements [jv1.CatalogServiceServer].
func (s *catalogService) Apply(ctx context.Context, req *jv1.ApplyRequest) (*jv1.ApplyResponse, error) {
	batch := make([]*declared, 0, len(req.GetResources()))
	for _, r := range req.GetResources() {
		d, err := declare(r)
		if err != nil {
			return nil, err
		}
		if !req.GetCheckRevision() {
			d.expected = 0
		}
		batch = append(batch, d)
	}
	out, err := s.apply(ctx, application{
		batch: batch, request: req, requestID: req.GetRequestId(), validateOnly: req.GetValidateOnly(),
	})
	if err != nil {
		return nil, err
	}
	return &jv1.ApplyResponse{Results: out.results, Warnings: out.warnings, Revision: out.revision}, nil
}

// application is one call that stores resources.
type application struct {
	batch        []*declared
	request      proto.Message
	requestID    string
	validateOnly bool
}

// applied is what became of it.
type applied struct {
	results  []*jv1.ApplyResult
	warnings []string
	revision int64
}

// apply stores all resources in one transaction, or none.
func (c *common) apply(ctx context.Context, a application) (*applied, error) {
	for range maxTries {
		once, err := c.once(ctx, a)
		if err != nil {
			return nil, err
		}
		if prior := once.prior(a.batch); prior != nil {
			return prior, nil
		}
		p, err := c.plan(ctx, a)
		if err != nil {
			return nil, err
		}
		out := &applied{results: p.results, warnings: p.warnings}
		// A request that changes nothing is remembered too: repeated after somebody else's change it must not undo that.
		if a.validateOnly || !p.changes() && a.requestID == "" {
			return out, nil
		}
		if err := c.purgeAll(ctx, p.leftovers); err != nil {
			return nil, err
		}
		txn := store.Txn{If: p.preconditions(), Then: p.writes}
		if p.changes() {
			c.record(ctx, &txn, applyChange(p))
		}
		once.guard(&txn, p.results)
		revision, err := c.commit(ctx, txn)
		if p.changes() {
			out.revision = revision
		}
		if err != nil || revision != 0 {
			return out, err
		}
	}
	return nil, errContended
}

// plan decides on the newest picture, and refuses what can't be stored.
func (c *common) plan(ctx context.Context, a application) (*plan, error) {
	var p *plan
	c.store.Read(func(v store.View) { p = planApply(v, a.batch, audit.From(ctx).Principal, c.now()) })
	switch {
	case len(p.problems) > 0:
		return nil, invalid(p.problems...)
	case len(p.stale) > 0:
		return nil, changed(strings.Join(p.stale, "; "))
	case p.refusal != nil:
		return nil, p.refusal
	}
	return p, nil
}

// record adds the audit event of a change; its id, which no other transaction has, tells whether this one was stored.
func (c *common) record(ctx context.Context, txn *store.Txn, change audit.Change) {
	op := audit.Op(ctx, c.now(), change)
	txn.Then = append(txn.Then, op)
	txn.Witness = op.Key
	txn.Mine = func(value []byte) bool { return value != nil }
}

// commit stores a transaction and waits until reads see it. The revision is 0 when a compare failed; then the newest
// picture shows why.
func (c *common) commit(ctx context.Context, txn store.Txn) (revision int64, err error) {
	result, err := c.store.Commit(ctx, txn)
	if err != nil {
		return 0, err
	}
	if err := c.store.WaitRevision(ctx, result.Revision); err != nil {
		if result.Committed {
			return 0, &fault{
				code: codes.Aborted, reason: reasonOutcomeUnknown, cause: err,
				message: fmt.Sprintf("it is stored, at revision %d, but this server has not seen it yet", result.Revision),
			}
		}
		return 0, err
	}
	if !result.Committed {
		return 0, nil
	}
	return result.Revision, nil
}

// applyChange is what the audit keeps of an apply.
func applyChange(p *plan) audit.Change {
	ids := slices.Concat(p.created, p.updated)
	target := "catalog"
	if len(ids) == 1 {
		target = plural(ids[0])
	}
	details := map[string]string{}
	if len(p.created) > 0 {
		details["created"] = strings.Join(p.created, ", ")
	}
	if len(p.updated) > 0 {
		details["updated"] = strings.Join(p.updated, ", ")
	}
	return audit.Change{Target: target, Details: details}
}

// plural turns `service/chat` into `services/chat`, as targets are written.
func plural(id string) string {
	k, name, _ := strings.Cut(id, "/")
	return strings.TrimSuffix(k, "s") + "s/" + name
}

// Delete implements [jv1.CatalogServiceServer].
func (s *catalogService) Delete(ctx context.Context, req *jv1.DeleteRequest) (*jv1.DeleteResponse, error) {
	k, ok := kinds[req.GetKind()]
	if !ok {
		return nil, errors.New("a kind that the rules let through is not known")
	}
	revision, err := s.remove(ctx, removal{
		kind: k, name: req.GetName(), expected: req.GetExpectedRevision(), validateOnly: req.GetValidateOnly(),
		request: req, requestID: req.GetRequestId(),
	})
	if err != nil {
		return nil, err
	}
	return &jv1.DeleteResponse{Revision: revision}, nil
}

// GetProvider implements [jv1.CatalogServiceServer].
func (s *catalogService) GetProvider(_ context.Context, req *jv1.GetProviderRequest) (*jv1.Provider, error) {
	return lookUp[*jv1.Provider](s.common, "provider", store.ProviderKey(req.GetName()), req.GetName())
}

// ListProviders implements [jv1.CatalogServiceServer].
func (s *catalogService) ListProviders(_ context.Context, req *jv1.ListProvidersRequest) (*jv1.ListProvidersResponse, error) {
	all, next, err := listPage[*jv1.Provider](s.common, store.Providers, req.GetPageSize(), req.GetPageToken())
	return &jv1.ListProvidersResponse{Providers: all, NextPageToken: next}, err
}

// GetService implements [jv1.CatalogServiceServer].
func (s *catalogService) GetService(_ context.Context, req *jv1.GetServiceRequest) (*jv1.Service, error) {
	return lookUp[*jv1.Service](s.common, "service", store.ServiceKey(req.GetName()), req.GetName())
}

// ListServices implements [jv1.CatalogServiceServer].
func (s *catalogService) ListServices(_ context.Context, req *jv1.ListServicesRequest) (*jv1.ListServicesResponse, error) {
	all, next, err := listPage[*jv1.Service](s.common, store.Services, req.GetPageSize(), req.GetPageToken())
	return &jv1.ListServicesResponse{Services: all, NextPageToken: next}, err
}

// GetDetector implements [jv1.CatalogServiceServer].
func (s *catalogService) GetDetector(_ context.Context, req *jv1.GetDetectorRequest) (*jv1.Detector, error) {
	return lookUp[*jv1.Detector](s.common, "detector", store.DetectorKey(req.GetName()), req.GetName())
}

// ListDetectors implements [jv1.CatalogServiceServer].
func (s *catalogService) ListDetectors(_ context.Context, req *jv1.ListDetectorsRequest) (*jv1.ListDetectorsResponse, error) {
	all, next, err := listPage[*jv1.Detector](s.common, store.Detectors, req.GetPageSize(), req.GetPageToken())
	return &jv1.ListDetectorsResponse{Detectors: all, NextPageToken: next}, err
}

// GetChannel implements [jv1.CatalogServiceServer].
func (s *catalogService) GetChannel(_ context.Context, req *jv1.GetChannelRequest) (*jv1.Channel, error) {
	return lookUp[*jv1.Channel](s.common, "channel", store.ChannelKey(req.GetName()), req.GetName())
}

// ListChannels implements [jv1.CatalogServiceServer].
func (s *catalogService) ListChannels(_ context.Context, req *jv1.ListChannelsRequest) (*jv1.ListChannelsResponse, error) {
	all, next, err := listPage[*jv1.Channel](s.common, store.Channels, req.GetPageSize(), req.GetPageToken())
	return &jv1.ListChannelsResponse{Channels: all, NextPageToken: next}, err
}
