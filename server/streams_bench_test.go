package server_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store/storetest"
)

// BenchmarkLastOfAThousandStreams is the time from a change to the last of 1000 gRPC streams. Goal: 100 ms.
func BenchmarkLastOfAThousandStreams(b *testing.B) {
	const connections, streams = 10, 100
	o := options(b)
	o.UnsafeNoFsync = false
	r := start(b, o)
	alpha, beta := newProvider(b, "alpha"), newProvider(b, "beta")
	r.apply(alpha.resource(), beta.resource(), service("chat", alpha, beta))
	type sighting struct {
		epoch int64
		at    time.Time
	}
	seen := make(chan sighting, connections*streams)
	var ready sync.WaitGroup
	ready.Add(connections * streams)
	for range connections {
		conn, err := grpc.NewClient("passthrough:///"+r.server.Addrs().GRPC, plain())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = conn.Close() })
		for range streams {
			stream, err := jv1.NewContinuityServiceClient(conn).WatchContinuity(b.Context(), &jv1.WatchContinuityRequest{})
			if err != nil {
				b.Fatal(err)
			}
			go func() {
				marked := sync.OnceFunc(ready.Done)
				for {
					m, err := stream.Recv()
					if err != nil {
						return
					}
					switch m.GetEvent() {
					case jv1.WatchEvent_WATCH_EVENT_BOOKMARK:
						marked()
					case jv1.WatchEvent_WATCH_EVENT_PUT:
						if e := m.GetState().GetEpoch(); e > 1 {
							seen <- sighting{e, time.Now()}
						}
					}
				}
			}()
		}
	}
	ready.Wait()
	var last []time.Duration
	for i := 0; b.Loop(); i++ {
		began := time.Now()
		s, err := r.continuity().SetQueueing(context.Background(), &jv1.SetQueueingRequest{Service: "chat", On: i%2 == 0, Reason: fmt.Sprint(i)})
		if err != nil {
			b.Fatal(err)
		}
		end := began
		for range connections * streams {
			x := <-seen
			if x.epoch != s.GetEpoch() {
				b.Fatalf("saw the epoch %d, not %d", x.epoch, s.GetEpoch())
			}
			if x.at.After(end) {
				end = x.at
			}
		}
		last = append(last, end.Sub(began))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(storetest.Median(last).Microseconds())/1000, "last_p50_ms")
}
