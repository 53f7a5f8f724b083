package server_test

import (
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"

	"github.com/jurymast/jurymast/client"
)

// TestTheSDKFollows runs the client against a real server: it sees a switch, reports it as in force, keeps answering while
// the server is away, and takes up again when it is back.
func TestTheSDKFollows(t *testing.T) {
	o := options(t)
	o.GRPCListen = freeAddress(t)
	r := start(t, o)
	alpha, beta := newProvider(t, "alpha"), newProvider(t, "beta")
	r.apply(alpha.resource(), beta.resource(), service("chat", alpha, beta))
	c, err := client.New(client.Options{
		Addresses: []string{o.GRPCListen}, Services: []string{"chat"}, CacheDir: t.TempDir(), Subscriber: "app", Logger: hclog.NewNullLogger(),
		MaxBackoff: 200 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.WaitLive(t.Context(), "chat"); err != nil {
		t.Fatal(err)
	}
	route := func() string {
		s, _ := c.State("chat")
		return s.GetActiveProvider()
	}
	if got := route(); got != "alpha" {
		t.Errorf("begins with %s", got)
	}
	move := func(to string) {
		t.Helper()
		_, err := r.continuity().SwitchProvider(t.Context(), &jv1.SwitchProviderRequest{Service: "chat", Provider: to, Reason: "x", BreakGlass: true})
		if err != nil {
			t.Fatal(err)
		}
	}
	move("beta")
	eventually(t, "the client follows", func() bool { return route() == "beta" })
	eventually(t, "the server knows that it is in force", func() bool {
		got, err := r.continuity().GetContinuity(t.Context(), &jv1.GetContinuityRequest{Service: "chat"})
		if err != nil || len(got.GetState().GetInForce()) != 1 {
			return false
		}
		in := got.GetState().GetInForce()[0]
		return in.GetSubscriber() == "app" && in.GetEpoch() == got.GetState().GetEpoch()
	})
	r.stop()
	if got := route(); got != "beta" {
		t.Errorf("without a server it answers %q", got)
	}
	r = start(t, o)
	move("alpha")
	eventually(t, "the client takes up again", func() bool { return route() == "alpha" })
}
