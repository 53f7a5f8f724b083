package client_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jurymast/jurymast/client"
	"github.com/jurymast/jurymast/client/clienttest"
)

func TestOnChangeTellsEachChangeInOrder(t *testing.T) {
	server := clienttest.New(t)
	server.Put(state("chat", "a", 1))
	told := make(chan string, 16)
	o := options(t, server.Address())
	o.OnChange = func(service string, s client.State, ok bool) error {
		if !ok {
			told <- service + " gone"
			return nil
		}
		told <- s.GetActiveProvider()
		return nil
	}
	c := start(t, o)
	if got := <-told; got != "a" {
		t.Errorf("told %q first", got)
	}
	server.Put(state("chat", "b", 2))
	if got := <-told; got != "b" {
		t.Errorf("told %q second", got)
	}
	server.Delete("chat")
	if got := <-told; got != "chat gone" {
		t.Errorf("told %q third", got)
	}
	waitLive(t, c)
	select {
	case got := <-told:
		t.Errorf("told %q once more", got)
	default:
	}
}

func TestASlowApplicationMissesOnlyWhatIsOvertaken(t *testing.T) {
	server := clienttest.New(t)
	server.Put(state("chat", "a", 1))
	began, goOn := make(chan struct{}, 16), make(chan struct{})
	var mu sync.Mutex
	var told []string
	o := options(t, server.Address())
	o.OnChange = func(_ string, s client.State, _ bool) error {
		mu.Lock()
		told = append(told, s.GetActiveProvider())
		mu.Unlock()
		began <- struct{}{}
		<-goOn
		return nil
	}
	c := start(t, o)
	<-began
	for i, p := range []string{"b", "c", "d"} {
		server.Put(state("chat", p, int64(i+2)))
	}
	// The stream and State don't wait for the application.
	eventually(t, "the newest is known", routeIs(c, "chat", "d"))
	close(goOn)
	<-began
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(told, []string{"a", "d"}) {
		t.Errorf("told %q", told)
	}
}

func TestWatch(t *testing.T) {
	server := clienttest.New(t)
	server.Put(state("chat", "a", 1))
	c := start(t, options(t, server.Address()))
	waitLive(t, c, "chat")
	states, stop := c.Watch("chat")
	other, stopOther := c.Watch("chat")
	if s := <-states; s.GetActiveProvider() != "a" || !s.Live {
		t.Errorf("first is %+v", s)
	}
	stopOther()
	stopOther()
	for range other {
	}
	server.Put(state("chat", "b", 2))
	for s := range states {
		if s.GetActiveProvider() == "b" {
			break
		}
	}
	server.Delete("chat")
	for range states {
	}
	stop()

	states, _ = c.Watch("later")
	server.Put(state("later", "x", 1))
	if s := <-states; s.GetActiveProvider() != "x" {
		t.Errorf("the later service is %+v", s)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for range states {
	}
	states, _ = c.Watch("later")
	if s, ok := <-states; !ok || s.GetActiveProvider() != "x" {
		t.Errorf("after Close the watch gives %+v, %t", s, ok)
	}
	if _, ok := <-states; ok {
		t.Error("a watch of a closed client goes on")
	}
}

func TestReportsWhatTheApplicationWasTold(t *testing.T) {
	server := clienttest.New(t)
	server.Put(state("chat", "a", 1))
	release := make(chan struct{})
	o := options(t, server.Address())
	o.OnChange = func(_ string, s client.State, _ bool) error {
		if s.GetEpoch() == 2 {
			<-release
		}
		return nil
	}
	c := start(t, o)
	inForce := func() int64 {
		epochs, _ := server.Reports()
		return epochs["app-1"]["chat"]
	}
	eventually(t, "the first epoch is reported", func() bool { return inForce() == 1 })
	server.Put(state("chat", "b", 2))
	eventually(t, "the switch is known", routeIs(c, "chat", "b"))
	if got := inForce(); got != 1 {
		t.Errorf("epoch %d is reported while the application has not taken it", got)
	}
	close(release)
	eventually(t, "the second epoch is reported", func() bool { return inForce() == 2 })
}

func TestAFailedChangeIsToldAgainAndNotReported(t *testing.T) {
	server := clienttest.New(t)
	server.Put(state("chat", "a", 1))
	var mu sync.Mutex
	broken, calls := true, 0
	o := options(t, server.Address())
	o.OnChange = func(string, client.State, bool) error {
		mu.Lock()
		defer mu.Unlock()
		calls++
		if broken {
			return errors.New("the proxy did not reload")
		}
		return nil
	}
	start(t, o)
	eventually(t, "the change is told again", func() bool { mu.Lock(); defer mu.Unlock(); return calls > 2 })
	if epochs, _ := server.Reports(); len(epochs) != 0 {
		t.Errorf("reported %v though the application took nothing", epochs)
	}
	mu.Lock()
	broken = false
	mu.Unlock()
	eventually(t, "the epoch is reported", func() bool { epochs, _ := server.Reports(); return epochs["app-1"]["chat"] == 1 })
}

func TestReportIsRepeatedBeforeItLapses(t *testing.T) {
	server := clienttest.New(t)
	server.SetValidFor(20 * time.Millisecond)
	server.Put(state("chat", "a", 1))
	c := start(t, options(t, server.Address()))
	waitLive(t, c, "chat")
	eventually(t, "several reports came", func() bool { _, n := server.Reports(); return n > 3 })
	server.Stop()
	server.Start()
	_, before := server.Reports()
	eventually(t, "reports come after a restart", func() bool { _, n := server.Reports(); return n > before })
}

func TestNoReport(t *testing.T) {
	server := clienttest.New(t)
	server.Put(state("chat", "a", 1))
	o := options(t, server.Address())
	o.NoReport = true
	told := make(chan struct{}, 1)
	o.OnChange = func(string, client.State, bool) error {
		told <- struct{}{}
		return nil
	}
	c := start(t, o)
	<-told
	waitLive(t, c, "chat")
	if _, n := server.Reports(); n != 0 {
		t.Errorf("%d reports", n)
	}
}

func TestTokenGoesWithEveryCall(t *testing.T) {
	server := clienttest.New(t)
	server.Put(state("chat", "a", 1))
	asked := make(chan struct{}, 100)
	o := options(t, server.Address())
	o.Token = func() (string, error) {
		asked <- struct{}{}
		return "secret", nil
	}
	c := start(t, o)
	waitLive(t, c, "chat")
	<-asked
	<-asked // the report
	conn, err := client.Dial(client.Options{Addresses: []string{"127.0.0.1:1", server.Address()}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn.Connect()
	for s := conn.GetState(); s.String() != "READY"; s = conn.GetState() {
		if !conn.WaitForStateChange(ctx, s) {
			t.Fatalf("the second address is never reached: %s", s)
		}
	}
}
