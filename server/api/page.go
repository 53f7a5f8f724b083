package api

import (
	"encoding/base64"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/jurymast/jurymast/server/store"
)

const (
	// defaultPage is the page size when none is asked for.
	defaultPage = 100
	// maxPageBytes bounds a page, so that it stays below the 4 MiB that a gRPC client takes by default. At least one
	// entry is always given; no record is larger than 1 MiB.
	maxPageBytes = 2 << 20
	// tokenPrefix tells a page token of this version.
	tokenPrefix = "p1:"
)

// page is one page of a list over the mirror.
type page struct {
	size  int
	after string // the last key of the page before; empty: the first page
}

func newPage(size int32, token string) (page, error) {
	p := page{size: int(size)}
	if p.size == 0 {
		p.size = defaultPage
	}
	if token == "" {
		return p, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	after, ok := strings.CutPrefix(string(raw), tokenPrefix)
	if err != nil || !ok || after == "" || len(after) > 512 {
		return p, invalid(Violation{Field: "page_token", Message: "not a token that this server gave"})
	}
	p.after = after
	return p, nil
}

func pageToken(last string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(tokenPrefix + last))
}

// listed is one page of records, with the token of the next page when there is one.
type listed[M proto.Message] struct {
	records []store.Record[M]
	next    string

	last string // name of the last record
}

// ascending lists the records under prefix in the order of their keys.
func ascending[M proto.Message](v store.View, prefix string, p page, keep func(M) bool) listed[M] {
	var out listed[M]
	bytes := 0
	v.Each(prefix, func(key string, msg proto.Message, create, mod int64) bool {
		m, ok := msg.(M)
		if name := key[len(prefix):]; !ok || p.after != "" && name <= p.after || keep != nil && !keep(m) {
			return true
		}
		return out.add(store.Record[M]{Key: key, Msg: m, Create: create, Mod: mod}, len(prefix), p, &bytes)
	})
	return out
}

// descending lists the records under prefix against the order of their keys: newest first, for ids that sort by time.
func descending[M proto.Message](v store.View, prefix string, p page, keep func(M) bool) listed[M] {
	var all []store.Record[M]
	v.Each(prefix, func(key string, msg proto.Message, create, mod int64) bool {
		m, ok := msg.(M)
		if p.after != "" && key[len(prefix):] >= p.after {
			return false
		}
		if ok && (keep == nil || keep(m)) {
			all = append(all, store.Record[M]{Key: key, Msg: m, Create: create, Mod: mod})
		}
		return true
	})
	var out listed[M]
	bytes := 0
	for i := len(all) - 1; i >= 0; i-- {
		if !out.add(all[i], len(prefix), p, &bytes) {
			break
		}
	}
	return out
}

// add appends a record; false when the page is full, and then the page has a next one.
func (l *listed[M]) add(r store.Record[M], prefix int, p page, bytes *int) bool {
	size := proto.Size(r.Msg)
	if len(l.records) > 0 && (len(l.records) == p.size || *bytes+size > maxPageBytes) {
		l.next = pageToken(l.last)
		return false
	}
	*bytes += size
	l.records, l.last = append(l.records, r), r.Key[prefix:]
	return true
}
