package store

import (
	"context"
	"math/big"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Range implements [Backend].
func (e *Etcd) Range(ctx context.Context, query Query) (Page, error) {
	if err := e.usable(ctx); err != nil {
		return Page{}, err
	}
	r := etcdRange{e: e, from: max(query.Prefix, query.From, "\x00"), end: query.end(), revision: query.Revision}
	if r.end != "" && r.from >= r.end {
		r.from, r.end, query.Limit = "\x00", "\x01", 0
		_, err := r.count(ctx)
		return Page{Revision: r.revision, Cluster: r.cluster, Term: r.term}, err
	}
	if query.CountOnly {
		n, err := r.count(ctx)
		return Page{Revision: r.revision, Count: n}, err
	}
	more := false
	if query.Descending && query.Limit > 0 {
		var err error
		if more, err = r.shrink(ctx, query.Limit); err != nil {
			return Page{}, err
		}
	}
	opts := []clientv3.OpOption{clientv3.WithRev(r.revision)}
	if query.KeysOnly {
		opts = append(opts, clientv3.WithKeysOnly())
	}
	if !query.Descending {
		opts = append(opts, clientv3.WithLimit(int64(query.Limit)))
	}
	resp, err := r.get(ctx, opts...)
	if err != nil {
		return Page{}, err
	}
	page := Page{
		Revision: r.revision, More: more || resp.More, Entries: make([]Entry, 0, len(resp.Kvs)), Cluster: r.cluster, Term: r.term,
	}
	for _, kv := range resp.Kvs {
		page.Entries = append(page.Entries, etcdEntry(kv, query.KeysOnly))
	}
	if query.Descending {
		slices.Reverse(page.Entries)
	}
	if query.Limit > 0 && len(page.Entries) > query.Limit {
		page.Entries, page.More = page.Entries[:query.Limit], true
	}
	return page, nil
}

func etcdEntry(kv *mvccpb.KeyValue, keysOnly bool) Entry {
	e := Entry{
		Key: string(kv.Key), Value: kv.Value,
		CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Lease: LeaseID(kv.Lease),
	}
	switch {
	case keysOnly:
		e.Value = nil
	case e.Value == nil:
		e.Value = []byte{}
	}
	return e
}

// etcdRange is a range of keys that is read by several requests at one revision.
type etcdRange struct {
	e         *Etcd
	from, end string // end is empty for "until the last key"
	revision  int64  // 0 until the first answer
	// cluster and term are of the last answer.
	cluster, term uint64
}

func (r *etcdRange) get(ctx context.Context, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := r.e.call(ctx)
	defer cancel()
	if r.end == "" {
		opts = append(opts, clientv3.WithFromKey())
	} else {
		opts = append(opts, clientv3.WithRange(r.end))
	}
	resp, err := r.e.opts.Client.Get(ctx, r.from, opts...)
	if err != nil {
		return nil, readError(ctx, err)
	}
	if r.revision == 0 {
		r.revision = resp.Header.Revision
	}
	r.cluster, r.term = resp.Header.ClusterId, resp.Header.RaftTerm
	return resp, nil
}

func (r *etcdRange) count(ctx context.Context) (int64, error) {
	resp, err := r.get(ctx, clientv3.WithCountOnly(), clientv3.WithRev(r.revision))
	if err != nil {
		return 0, err
	}
	return resp.Count, nil
}

// shrink moves the beginning of the range up, so that it holds at least limit keys but not many more. etcd reads a
// whole range to sort it, so the last page of a long one would cost as much as all of it; counting costs only a walk
// in the index. More tells that keys were left out.
func (r *etcdRange) shrink(ctx context.Context, limit int) (more bool, err error) {
	all, err := r.count(ctx)
	if err != nil {
		return false, err
	}
	enough, plenty := int64(limit), int64(4*limit)
	if all <= plenty {
		return all > enough, nil
	}
	end := r.end
	if end == "" {
		end = "\xff"
	}
	space := newKeySpace(r.from, end)
	for low, high := space.low, space.high; ; {
		middle := new(big.Int).Rsh(new(big.Int).Add(low, high), 1)
		if middle.Cmp(low) == 0 {
			return true, nil // the keys differ further behind: take what there is
		}
		tail := *r
		tail.from = space.key(middle)
		n, err := tail.count(ctx)
		switch {
		case err != nil:
			return false, err
		case n < enough:
			high = middle
		default:
			low, r.from = middle, tail.from
			if n <= plenty {
				return true, nil
			}
		}
	}
}

// keySpace maps the keys between two keys to numbers, so that the middle of two keys can be found.
type keySpace struct {
	common    string // the beginning of all keys
	low, high *big.Int
}

// keyDigits is how many bytes after the common beginning are told apart.
const keyDigits = 24

func newKeySpace(from, end string) keySpace {
	n := 0
	for n < min(len(from), len(end)) && from[n] == end[n] {
		n++
	}
	return keySpace{common: from[:n], low: number(from[n:]), high: number(end[n:])}
}

// number reads a key's next bytes, as if zeros followed it.
func number(tail string) *big.Int {
	var digits [keyDigits]byte
	copy(digits[:], tail)
	return new(big.Int).SetBytes(digits[:])
}

func (s keySpace) key(n *big.Int) string {
	var digits [keyDigits]byte
	return s.common + string(n.FillBytes(digits[:]))
}
