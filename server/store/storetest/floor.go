package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/jurymast/jurymast/server/store"
)

const (
	floorWarmup = 50
	floorTries  = 400
)

// MeasureT measures T, the floor that the speed of everything else is expressed in: the median time of a
// compare-and-put transaction of 256 bytes, one after the other. Call it in the benchmark that uses it, on the same
// backend, as disks change their speed from minute to minute: an embedded member in process, with fsync. It neither
// counts in the benchmark's time nor leaves anything behind.
func MeasureT(tb testing.TB, b store.Backend) time.Duration {
	tb.Helper()
	if bench, ok := tb.(*testing.B); ok {
		bench.StopTimer()
		defer bench.StartTimer()
	}
	key := store.Root + "floor/" + store.NewID("t", time.Now())
	value := make([]byte, 256)
	var times []time.Duration
	revision := int64(0)
	for i := range floorWarmup + floorTries {
		began := time.Now()
		result, err := b.Commit(tb.Context(), store.Txn{
			If:   []store.Compare{store.Unchanged(key, revision)},
			Then: []store.Op{{Key: key, Value: value}},
		})
		took := time.Since(began)
		if err != nil || !result.Committed {
			tb.Fatalf("measure T: %+v, %v", result, err)
		}
		revision = result.Revision
		if i >= floorWarmup {
			times = append(times, took)
		}
	}
	if _, err := b.Commit(tb.Context(), store.Txn{Then: []store.Op{{Key: key, Delete: true}}}); err != nil {
		tb.Fatalf("measure T: %v", err)
	}
	return Median(times)
}

// Median returns the middle of some times, which it sorts; 0 when there are none.
func Median(times []time.Duration) time.Duration {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[len(times)/2]
}

// ReportRatio reports a time in milliseconds, and as a multiple of T.
func ReportRatio(b *testing.B, what string, took, t time.Duration) {
	b.Helper()
	b.ReportMetric(float64(took)/float64(time.Millisecond), what+"-ms")
	b.ReportMetric(float64(took)/float64(t), what+"/T")
}
