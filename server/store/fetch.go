package store

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// Fetch reads a record from the store itself, linearizable; the zero Record with its key (Mod 0, nil message) when
// there is none. Errors are ErrForeignRecord, ErrCorrupt, ErrUnavailable and ErrClosed.
func Fetch[M proto.Message](ctx context.Context, s *Store, key string) (Record[M], error) {
	page, err := s.opts.Backend.Range(ctx, exactly(key))
	if err != nil {
		return Record[M]{Key: key}, fmt.Errorf("fetch %q: %w", key, err)
	}
	if len(page.Entries) == 0 {
		return Record[M]{Key: key}, nil
	}
	return open[M](page.Entries[0])
}

// Scan reads the records under prefix whose keys are greater than or equal to "from" (all when empty) from the store
// itself, in the order of their keys, at most limit (0: all). More tells that there are more. Records that can't be
// read are logged and left out, so a page may hold fewer than limit; errors are ErrUnavailable and ErrClosed.
func Scan[M proto.Message](ctx context.Context, s *Store, prefix, from string, limit int) (records []Record[M], more bool, err error) {
	return scan[M](ctx, s, Query{Prefix: prefix, From: from, Limit: limit})
}

// ScanDescending is [Scan] with the greatest key first, for keys below "before" (all when empty).
func ScanDescending[M proto.Message](ctx context.Context, s *Store, prefix, before string, limit int) (records []Record[M], more bool, err error) {
	return scan[M](ctx, s, Query{Prefix: prefix, Before: before, Limit: limit, Descending: true})
}

// Count returns how many keys are under prefix, from the store itself. Errors are ErrUnavailable and ErrClosed.
func Count(ctx context.Context, s *Store, prefix string) (int, error) {
	page, err := s.opts.Backend.Range(ctx, Query{Prefix: prefix, CountOnly: true})
	if err != nil {
		return 0, fmt.Errorf("count %q: %w", prefix, err)
	}
	return int(page.Count), nil
}

// Keys returns the keys under prefix in their order, at most limit (0: all), from the store itself. Errors are
// ErrUnavailable and ErrClosed.
func Keys(ctx context.Context, s *Store, prefix string, limit int) ([]string, error) {
	page, err := s.opts.Backend.Range(ctx, Query{Prefix: prefix, Limit: limit, KeysOnly: true})
	if err != nil {
		return nil, fmt.Errorf("keys under %q: %w", prefix, err)
	}
	keys := make([]string, 0, len(page.Entries))
	for _, e := range page.Entries {
		keys = append(keys, e.Key)
	}
	return keys, nil
}

func scan[M proto.Message](ctx context.Context, s *Store, q Query) ([]Record[M], bool, error) {
	page, err := s.opts.Backend.Range(ctx, q)
	if err != nil {
		return nil, false, fmt.Errorf("scan %q: %w", q.Prefix, err)
	}
	records := make([]Record[M], 0, len(page.Entries))
	for _, e := range page.Entries {
		r, err := open[M](e)
		if err != nil {
			s.report([]Problem{{Key: e.Key, Err: err, ModRevision: e.ModRevision}})
			continue
		}
		records = append(records, r)
	}
	return records, page.More, nil
}

func open[M proto.Message](e Entry) (Record[M], error) {
	var none M
	msg, ok := none.ProtoReflect().New().Interface().(M)
	if !ok {
		return Record[M]{Key: e.Key}, fmt.Errorf("fetch %q: %T is not a generated message: %w", e.Key, none, ErrInvalid)
	}
	if err := Open(e.Value, msg); err != nil {
		return Record[M]{Key: e.Key}, fmt.Errorf("fetch %q: %w", e.Key, err)
	}
	return Record[M]{Key: e.Key, Msg: msg, Create: e.CreateRevision, Mod: e.ModRevision}, nil
}
