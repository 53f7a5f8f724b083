package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// use is what the daemon takes of the machine.
type use struct {
	rss      int64 // resident memory, in bytes
	database int64 // size of the database file, in bytes
}

// use reads it from the kernel and the file system; only Linux tells the memory that way.
func (p *process) use() use {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Skipf("this system does not tell what memory a process has: %v", err)
	}
	var u use
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				p.t.Fatal(err)
			}
			u.rss = kib << 10
		}
	}
	info, err := os.Stat(filepath.Join(p.dir, "etcd", "member", "snap", "db"))
	if err != nil {
		p.t.Fatal(err)
	}
	u.database = info.Size()
	return u
}

// endure has many services start runs of three calls and a notification one after the other, and watches what the daemon
// takes meanwhile. It returns the most that was seen, and the last.
func endure(t *testing.T, count int64) (most, last use) {
	const services = 32
	p := newProcess(t)
	sink := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(sink.Close)
	p.start()
	p.manyServices(sink.URL, services)

	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(count)*50*time.Millisecond+time.Minute)
	defer cancel()
	var started atomic.Int64
	var group sync.WaitGroup
	for i := range services {
		group.Go(func() {
			for started.Load() < count && ctx.Err() == nil {
				if p.startOn(ctx, fmt.Sprintf("s%d", i)) {
					started.Add(1)
				}
			}
		})
	}
	begin := time.Now()
	over := make(chan struct{})
	go func() { group.Wait(); close(over) }()
	for tick := time.NewTicker(time.Second); ; {
		select {
		case <-tick.C:
		case <-over:
			tick.Stop()
		}
		last = p.use()
		most.rss, most.database = max(most.rss, last.rss), max(most.database, last.database)
		select {
		case <-over:
			if started.Load() < count {
				t.Fatalf("only %d of %d runs were started in time", started.Load(), count)
			}
			p.idle()
			t.Logf("%d runs in %v: at most %d MiB of memory and a database of %d MiB, %d MiB and %d MiB at the end",
				started.Load(), time.Since(begin).Round(time.Second), most.rss>>20, most.database>>20, last.rss>>20, last.database>>20)
			return most, last
		default:
		}
	}
}

// manyServices applies services that share a provider, and a runbook for all of them.
func (p *process) manyServices(sink string, n int) {
	p.t.Helper()
	book := &jv1.Runbook{Name: "calls"}
	resources := []*jv1.Resource{
		{Kind: &jv1.Resource_Provider{Provider: &jv1.Provider{Name: "only", BaseUrl: sink}}},
		{Kind: &jv1.Resource_Channel{Channel: &jv1.Channel{Name: "log", Kind: &jv1.Channel_Log{Log: &jv1.LogChannel{}}}}},
	}
	for i := range n {
		name := fmt.Sprintf("s%d", i)
		book.Services = append(book.Services, name)
		resources = append(resources, &jv1.Resource{Kind: &jv1.Resource_Service{Service: &jv1.Service{
			Name: name, Providers: []*jv1.ServiceProvider{{Name: "only"}},
		}}})
	}
	for _, id := range []string{"one", "two", "three"} {
		book.Steps = append(book.Steps, &jv1.Step{Id: id, Action: &jv1.Step_HttpRequest{HttpRequest: &jv1.HttpRequestStep{
			Url: sink + "/" + id, Repeat: jv1.Repeatability_REPEATABILITY_IDEMPOTENT,
		}}})
	}
	book.Steps = append(book.Steps, &jv1.Step{Id: "tell", Action: &jv1.Step_Notify{Notify: &jv1.NotifyStep{
		Channels: []string{"log"}, Text: "run {{.Run}} is over", Title: "over",
	}}})
	resources = append(resources, &jv1.Resource{Kind: &jv1.Resource_Runbook{Runbook: book}})
	if _, err := jv1.NewCatalogServiceClient(p.conn).Apply(p.t.Context(), &jv1.ApplyRequest{Resources: resources}); err != nil {
		p.t.Fatal(err)
	}
}

// startOn starts a run for a service; false when another one still acts on it.
func (p *process) startOn(ctx context.Context, service string) bool {
	_, err := jv1.NewRunServiceClient(p.conn).StartRun(ctx, &jv1.StartRunRequest{Runbook: "calls", Service: service, Reason: "endurance"})
	switch status.Code(err) {
	case codes.OK:
		return true
	case codes.FailedPrecondition, codes.Aborted, codes.ResourceExhausted:
		time.Sleep(2 * time.Millisecond) // it says when it is free only to watchers
		return false
	case codes.DeadlineExceeded, codes.Canceled:
		return false
	default:
		p.t.Errorf("start on %s: %v", service, err)
		return false
	}
}

// idle waits until no run is live, and fails when one does not end.
func (p *process) idle() {
	p.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		live, err := jv1.NewRunServiceClient(p.conn).ListRuns(p.t.Context(), &jv1.ListRunsRequest{Live: true})
		if err != nil && !errors.Is(err, io.EOF) {
			p.t.Fatal(err)
		}
		if len(live.GetRuns()) == 0 {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%d runs do not end, the first: %v", len(live.GetRuns()), live.GetRuns()[0])
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// What is over does not pile up in memory. A share of [TestAHundredThousandRuns].
func TestRunsDoNotPileUp(t *testing.T) {
	if most, _ := endure(t, 1500); most.rss > 250<<20 {
		t.Errorf("%d MiB of memory", most.rss>>20)
	}
}
