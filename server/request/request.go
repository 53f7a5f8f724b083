// Package request makes calls idempotent: the first call with a request id stores what it made in its own transaction,
// and a repeated one is answered from there (protocol P15).
//
// It promises that at most one transaction per principal and request id is ever committed within the time it
// remembers. It never answers a request whose body differs from the first one's.
package request

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	"github.com/jurymast/jurymast/server/store"
)

// Retention is how long a request is remembered.
const Retention = 24 * time.Hour

// ErrMismatch says that the request id was used for another request.
var ErrMismatch = errors.New("request id was used with another body")

// Guard keeps one request from being carried out twice. A nil Guard, for a request without an id, guards nothing; its
// methods may be called.
type Guard struct {
	key     string
	mod     int64
	request *recordv1.Request
	prior   *recordv1.Request
}

// Revision is that of the transaction in which the first request was carried out; 0 when this is the first.
func (g *Guard) Revision() int64 {
	if g == nil || g.prior == nil {
		return 0
	}
	return g.mod
}

// Begin looks the request up. The body's own request id is part of the hash and does no harm. Errors are those of the
// store, and ErrMismatch.
func Begin(ctx context.Context, st *store.Store, principal, id string, body proto.Message, now time.Time) (*Guard, error) {
	if id == "" {
		return nil, nil
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("hash request %s: %w", id, err)
	}
	sum := sha256.Sum256(append([]byte(body.ProtoReflect().Descriptor().FullName()+"\x00"), raw...))
	g := &Guard{key: store.RequestKey(principal, id), request: &recordv1.Request{
		Principal: principal, RequestId: id, BodyHash: sum[:], ExpireTime: timestamppb.New(now.Add(Retention)),
	}}
	rec, err := store.Fetch[*recordv1.Request](ctx, st, g.key)
	if err != nil {
		return nil, fmt.Errorf("look up request %s: %w", id, err)
	}
	g.mod = rec.Mod
	if rec.Msg == nil || now.After(rec.Msg.GetExpireTime().AsTime()) {
		return g, nil
	}
	if !bytes.Equal(rec.Msg.GetBodyHash(), sum[:]) {
		return nil, fmt.Errorf("request %s: %w", id, ErrMismatch)
	}
	g.prior = rec.Msg
	// What the first request made is answered from the mirror, which may be behind the read that found it.
	if err := st.WaitRevision(ctx, rec.Mod); err != nil {
		return nil, fmt.Errorf("look up request %s: %w", id, err)
	}
	return g, nil
}

// Result returns what the first request made; ok is false when this is the first.
func (g *Guard) Result() (result string, ok bool) {
	if g == nil || g.prior == nil {
		return "", false
	}
	return g.prior.GetResult(), true
}

// Guard adds to the transaction that this is the first request, and what it made.
func (g *Guard) Guard(txn *store.Txn, result string) {
	if g == nil {
		return
	}
	g.request.Result = result
	txn.If = append(txn.If, store.Unchanged(g.key, g.mod))
	txn.Then = append(txn.Then, store.Put(g.key, g.request))
}
