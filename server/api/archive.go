package api

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/jurymast/jurymast/server/store"
)

const (
	// archivePage is how many archived records are read at once.
	archivePage = 200
	// maxArchivePages bounds what one call reads of the archive when hardly anything there is asked for. The page is
	// shorter then, and its token leads on.
	maxArchivePages = 25
)

// lookUpEnded is [lookUp] for records that move into an archive when they have ended. What the mirror doesn't know is asked
// of the store: whoever was just told of a run, by this replica or another one, must find it. The archive is asked last,
// so that a record on its way is found in the one or the other.
func lookUpEnded[M proto.Message](ctx context.Context, c *common, kind, key, name string,
	archived func(context.Context, *store.Store, string) (store.Record[M], error),
) (M, error) {
	m, err := lookUp[M](c, kind, key, name)
	if err == nil || !isName(name) {
		return m, err
	}
	rec, ferr := store.Fetch[M](ctx, c.store, key)
	if ferr == nil && rec.Mod == 0 {
		rec, ferr = archived(ctx, c.store, name)
	}
	switch {
	case ferr != nil:
		return m, ferr
	case rec.Mod == 0:
		return m, err
	}
	return shown(rec), nil
}

// family is where records stand before they are archived, and after, with how a page of them is read.
type family[M proto.Message] struct {
	mirrored, archived string
	page               func(ctx context.Context, s *store.Store, before string, limit int) ([]store.Record[M], bool, error)
}

// listEnded lists records of the mirror and of the archive together, against the order of their names. The mirror is read
// first, so that a record on its way is found in the one or the other.
func listEnded[M proto.Message](ctx context.Context, c *common, f family[M], p page, keep func(M) bool) (out listed[M], err error) {
	var mirrored listed[M]
	c.store.Read(func(v store.View) { mirrored = descending(v, f.mirrored, p, keep) })
	a := &archived[M]{family: f, store: c.store, before: p.after, keep: keep}
	bytes := 0
	take := func(r store.Record[M], prefix int) bool { return out.add(r, prefix, p, &bytes) }
	for _, r := range mirrored.records {
		name := r.Key[len(f.mirrored):]
		for {
			old, ok, err := a.peek(ctx)
			if err != nil {
				return out, err
			}
			if !ok || old.Key[len(f.archived):] < name {
				break
			}
			a.drop()
			if old.Key[len(f.archived):] != name && !take(old, len(f.archived)) {
				return out, nil
			}
		}
		if a.exhausted() && a.before > name {
			out.next = pageToken(a.before)
			return out, nil
		}
		if !take(r, len(f.mirrored)) {
			return out, nil
		}
	}
	if mirrored.next != "" {
		out.next = mirrored.next
		return out, nil
	}
	for {
		old, ok, err := a.peek(ctx)
		if err != nil || !ok {
			if a.exhausted() {
				out.next = pageToken(a.before)
			}
			return out, err
		}
		a.drop()
		if !take(old, len(f.archived)) {
			return out, nil
		}
	}
}

// archived reads archived records against the order of their names, page by page.
type archived[M proto.Message] struct {
	family[M]
	store  *store.Store
	before string // the name below which the next page begins; empty: at the end
	keep   func(M) bool

	buffer []store.Record[M]
	pages  int
	over   bool
}

// exhausted tells whether so much was read that the caller should come again.
func (a *archived[M]) exhausted() bool {
	return !a.over && a.pages >= maxArchivePages && len(a.buffer) == 0
}

// peek returns the next record that is asked for; ok is false at the end, and when a is exhausted.
func (a *archived[M]) peek(ctx context.Context) (rec store.Record[M], ok bool, err error) {
	for len(a.buffer) == 0 {
		if a.over || a.exhausted() {
			return rec, false, nil
		}
		page, more, err := a.page(ctx, a.store, a.before, archivePage)
		if err != nil {
			return rec, false, err
		}
		a.pages++
		a.over = !more || len(page) == 0
		if len(page) > 0 {
			a.before = page[len(page)-1].Key[len(a.archived):]
		}
		a.buffer = slices.DeleteFunc(page, func(r store.Record[M]) bool { return a.keep != nil && !a.keep(r.Msg) })
	}
	return a.buffer[0], true, nil
}

func (a *archived[M]) drop() { a.buffer = a.buffer[1:] }
