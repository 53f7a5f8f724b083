package etcdnode_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/jurymast/jurymast/server/etcdnode/etcdtest"
)

// BenchmarkTxn measures T, the floor to which every other latency is compared: the median of one compare-and-put of
// 1 KiB in process, with fsync, on this machine, now.
func BenchmarkTxn(b *testing.B) {
	client := etcdtest.StartSingle(b, etcdtest.WithFsync()).Client()
	value := strings.Repeat("v", 1024)
	revision := int64(0)
	took := make([]time.Duration, 0, 1<<16)
	for b.Loop() {
		began := time.Now()
		answer, err := client.Txn(b.Context()).
			If(clientv3.Compare(clientv3.ModRevision("k"), "=", revision)).
			Then(clientv3.OpPut("k", value)).
			Commit()
		if err != nil || !answer.Succeeded {
			b.Fatalf("%+v, %v", answer, err)
		}
		took = append(took, time.Since(began))
		revision = answer.Header.Revision
	}
	report(b, took)
}

// BenchmarkPutToWatch measures from a put to its event on a watch; compare it with BenchmarkTxn.
func BenchmarkPutToWatch(b *testing.B) {
	client := etcdtest.StartSingle(b, etcdtest.WithFsync()).Client()
	watch := client.Watch(b.Context(), "k", clientv3.WithCreatedNotify())
	<-watch
	took := make([]time.Duration, 0, 1<<16)
	for b.Loop() {
		began := time.Now()
		put(b, client, "k", "v")
		<-watch
		took = append(took, time.Since(began))
	}
	report(b, took)
}

// BenchmarkLocalRead measures a serializable read, the cheapest call there is.
func BenchmarkLocalRead(b *testing.B) {
	client := etcdtest.StartSingle(b).Client()
	put(b, client, "k", "v")
	for b.Loop() {
		if _, err := client.Get(b.Context(), "k", clientv3.WithSerializable()); err != nil {
			b.Fatal(err)
		}
	}
}

func report(b *testing.B, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
