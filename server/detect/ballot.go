package detect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/telemetry"
)

// ballot keeps this replica's votes in the store: one record for each service, leased by the replica's session, so that
// they end with it.
//
// A vote is written when it changes, and renewed when less than half of its validity is left; whoever writes takes
// along what is due soon. One service probed every 15 s so costs one write in 22 s, and a thousand of them cost as many
// puts in some ten transactions.
type ballot struct {
	store   *store.Store
	keeper  *store.Keeper
	replica string
	log     hclog.Logger
	now     func() time.Time

	mu       sync.Mutex
	papers   map[string]*paper // by service
	wake     chan struct{}     // of capacity 1
	revision map[string]int64  // of the stored record by service, as this replica knows it; writer's own
}

// paper is what this replica says of one service.
type paper struct {
	votes   map[targetKey]*jv1.Signal
	written map[targetKey]*jv1.Signal
	valid   map[targetKey]time.Duration
	dirty   bool
}

// batch is the most services whose votes go into one transaction: a write and a compare each, and the fence.
const batch = 90

func newBallot(s *store.Store, k *store.Keeper, replica string, log hclog.Logger, now func() time.Time) *ballot {
	return &ballot{
		store: s, keeper: k, replica: replica, log: log, now: now,
		papers: map[string]*paper{}, wake: make(chan struct{}, 1), revision: map[string]int64{},
	}
}

// cast takes the votes of a target, one for each of its services.
func (b *ballot) cast(key targetKey, signals []*jv1.Signal, r rhythm) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range signals {
		p := b.papers[s.GetService()]
		if p == nil {
			p = &paper{votes: map[targetKey]*jv1.Signal{}, written: map[targetKey]*jv1.Signal{}, valid: map[targetKey]time.Duration{}}
			b.papers[s.GetService()] = p
		}
		p.votes[key], p.valid[key] = s, r.validity()
		if sameVote(p.written[key], s) && left(p.written[key], b.now()) >= p.valid[key]/2 {
			continue
		}
		p.dirty = true
		b.poke()
	}
}

// retire takes back the votes of all targets but those to keep, by service.
func (b *ballot) retire(keep map[string][]targetKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for service, p := range b.papers {
		for key := range p.votes {
			if !slices.Contains(keep[service], key) {
				delete(p.votes, key)
				delete(p.valid, key)
				p.dirty = true
				b.poke()
			}
		}
	}
}

// poke wakes the writer; b.mu is held.
func (b *ballot) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// sameVote tells whether a stored vote says the same. Its summary may be older.
func sameVote(written, s *jv1.Signal) bool {
	return written != nil && written.GetState() == s.GetState() && written.GetCause() == s.GetCause() &&
		proto.Equal(written.GetObservedAt(), s.GetObservedAt())
}

// left is how long a signal still counts.
func left(s *jv1.Signal, now time.Time) time.Duration { return s.GetValidUntil().AsTime().Sub(now) }

// run writes votes until ctx ends or the store is closed. Without a session, votes wait: they would not end with us.
func (b *ballot) run(ctx context.Context) error {
	for ctx.Err() == nil {
		session, _ := b.keeper.Wait(ctx) // its only error is ctx's
		if session == nil {
			break
		}
		b.renewAll()
		if err := b.serve(ctx, session); errors.Is(err, store.ErrClosed) && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// serve writes votes while the session lives.
func (b *ballot) serve(ctx context.Context, session *store.Session) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		select {
		case <-session.Done():
		case <-ctx.Done():
		}
	}()
	for attempt := 0; ; {
		wrote, err := b.write(ctx, session)
		switch {
		case ctx.Err() != nil || errors.Is(err, store.ErrClosed):
			return err
		case err != nil:
			if attempt++; attempt == 2 {
				b.log.Warn("can't write votes, trying again", telemetry.KeyError, err)
			}
			wait(ctx, min(10*time.Millisecond<<min(attempt, 7), time.Second))
		case wrote:
			attempt = 0
		default:
			select {
			case <-b.wake:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// renewAll makes everything due: a new session has to lease it.
func (b *ballot) renewAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.papers {
		clear(p.written)
		p.dirty = true
	}
}

// write stores what is due, at most one transaction, and tells whether there was anything. The compare with the stored
// record keeps a write whose outcome was unknown from landing on top of a later one.
func (b *ballot) write(ctx context.Context, session *store.Session) (bool, error) {
	services := b.due()
	if len(services) == 0 {
		return false, nil
	}
	txn := store.Txn{If: []store.Compare{session.Fence()}}
	sent := map[string]*recordv1.Votes{}
	for _, service := range services {
		key := store.VotesKey(service, b.replica)
		votes := b.votes(service)
		sent[service] = votes
		rev, known := b.revision[service]
		if !known {
			b.store.Read(func(v store.View) { rev = store.Get[*recordv1.Votes](v, key).Mod })
			b.revision[service] = rev
		}
		switch {
		case len(votes.GetSignals()) > 0:
			txn.Then = append(txn.Then, store.PutLeased(key, votes, session.Lease))
		case rev > 0:
			txn.Then = append(txn.Then, store.Delete(key))
		default:
			continue
		}
		txn.If = append(txn.If, store.Unchanged(key, rev))
	}
	if len(txn.Then) == 0 {
		b.done(sent, 0)
		return true, nil
	}
	res, err := b.store.Commit(ctx, txn)
	if err == nil && res.Committed {
		b.done(sent, res.Revision)
		return true, nil
	}
	b.undone(services)
	if err != nil {
		return true, fmt.Errorf("write votes: %w", err)
	}
	if err := b.store.WaitRevision(ctx, res.Revision); err != nil {
		return true, fmt.Errorf("write votes: %w", err)
	}
	return true, errConflict
}

// errConflict says that a record changed under a decision; it is made again.
var errConflict = errors.New("changed meanwhile")

// due are the services whose votes have to be written, and while at it those that will have to be soon.
func (b *ballot) due() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var must, may []string
	for service, p := range b.papers {
		switch {
		case p.dirty:
			must = append(must, service)
		case p.soon(b.now()):
			may = append(may, service)
		}
	}
	if len(must) == 0 {
		return nil
	}
	slices.Sort(must)
	slices.Sort(may)
	must = append(must, may...)
	return must[:min(len(must), batch)]
}

// soon tells whether a newer vote lies there for one that has less than three quarters of its validity left.
func (p *paper) soon(now time.Time) bool {
	for key, w := range p.written {
		if v := p.votes[key]; v != nil && v != w && left(w, now) < p.valid[key]*3/4 {
			return true
		}
	}
	return false
}

// votes is the record of a service as it should be; without signals when there is none to give.
func (b *ballot) votes(service string) *recordv1.Votes {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.papers[service]
	p.dirty = false
	votes := &recordv1.Votes{Service: service, Replica: b.replica}
	for _, s := range p.votes {
		votes.Signals = append(votes.Signals, s)
	}
	slices.SortFunc(votes.Signals, func(x, y *jv1.Signal) int { return compareTargets(keyOf(x), keyOf(y)) })
	return votes
}

// done notes what is stored now, at a revision; 0 when there was nothing to store.
func (b *ballot) done(sent map[string]*recordv1.Votes, revision int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for service, votes := range sent {
		p := b.papers[service]
		clear(p.written)
		for _, s := range votes.GetSignals() {
			p.written[keyOf(s)] = s
		}
		b.revision[service] = revision
		if len(votes.GetSignals()) == 0 {
			b.revision[service] = 0
			if len(p.votes) == 0 {
				delete(b.papers, service)
				delete(b.revision, service)
			}
		}
	}
}

// undone notes that it isn't known what is stored now.
func (b *ballot) undone(services []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, service := range services {
		delete(b.revision, service)
		b.papers[service].dirty = true
	}
}

func keyOf(s *jv1.Signal) targetKey { return targetKey{s.GetSource(), s.GetProvider()} }

func compareTargets(a, b targetKey) int {
	return cmp.Or(cmp.Compare(a.detector, b.detector), cmp.Compare(a.provider, b.provider))
}
