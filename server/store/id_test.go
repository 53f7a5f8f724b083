package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/server/store"
)

func TestNewIDSortsByTimeAndIsUnique(t *testing.T) {
	at := time.UnixMilli(1_763_000_000_000)
	last := ""
	for range 2000 {
		id := store.NewID("r", at)
		if !strings.HasPrefix(id, "r-") || len(id) != 22 {
			t.Fatalf("id %q", id)
		}
		if id <= last {
			t.Fatalf("%q does not sort after %q", id, last)
		}
		last = id
		at = at.Add(time.Millisecond)
	}
	seen := map[string]bool{}
	for range 10_000 {
		id := store.NewID("r", at)
		if seen[id] {
			t.Fatalf("%q came twice", id)
		}
		seen[id] = true
	}
}
