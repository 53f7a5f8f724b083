package notify_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/notify"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/telemetry"
)

// vitals is a store of which only the signs of life matter.
type vitals struct {
	mu       sync.Mutex
	down     bool
	asOf     time.Time
	channels []*jv1.Channel
	restored *recordv1.ObserveOnly
}

func (v *vitals) restore(why *recordv1.ObserveOnly) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.restored = why
}

func (v *vitals) ObserveOnly() (*recordv1.ObserveOnly, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.restored, v.restored != nil
}

func (v *vitals) setDown(down bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.down = down
}

func (v *vitals) setChannels(channels ...*jv1.Channel) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.channels = channels
}

func (v *vitals) Freshness() store.Freshness {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.down {
		v.asOf = time.Now()
	}
	return store.Freshness{Live: !v.down, AsOf: v.asOf}
}

func (v *vitals) Read(f func(store.View)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f(channelView(slices.Clone(v.channels)))
}

// channelView is a view that holds nothing but channels.
type channelView []*jv1.Channel

func (v channelView) Revision() int64 { return 5 }

func (v channelView) Lookup(string) (proto.Message, int64, int64, bool) { return nil, 0, 0, false }

func (v channelView) Each(_ string, f func(string, proto.Message, int64, int64) bool) {
	for _, ch := range v {
		if !f(store.ChannelKey(ch.GetName()), ch, 1, 1) {
			return
		}
	}
}

func hook(name string) *jv1.Channel {
	return &jv1.Channel{Name: name, Kind: &jv1.Channel_Webhook{Webhook: &jv1.WebhookChannel{Url: "http://" + name}}}
}

// guard runs an emergency until stop is called.
func guard(t *testing.T, o notify.EmergencyOptions) (stop func()) {
	t.Helper()
	o.Replica = "r1"
	e, err := notify.NewEmergency(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// phases of the messages a mailbox got, in order.
func phases(m *mailbox) []string {
	var out []string
	for _, id := range m.got() {
		switch {
		case strings.Contains(id, "-down-"):
			out = append(out, "down")
		case strings.Contains(id, "-back-"):
			out = append(out, "back")
		default:
			out = append(out, id)
		}
	}
	return out
}

func TestEmergencyTellsOfTheLossAndOfTheReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		team, oncall, v := &mailbox{}, &mailbox{}, &vitals{}
		v.setChannels(hook("team"), hook("oncall"), logTo())
		log := &syncBuffer{}
		guard(t, notify.EmergencyOptions{
			Store: v, Path: filepath.Join(t.TempDir(), "emergency.json"), Transport: network{"team": team.ServeHTTP, "oncall": oncall.ServeHTTP},
			Logger: telemetry.NewLogger(telemetry.Options{Level: hclog.Trace, Output: log}),
		})
		time.Sleep(time.Hour)
		v.setDown(true)
		time.Sleep(59 * time.Second)
		if got := team.got(); len(got) != 0 {
			t.Fatalf("told %q too early", got)
		}
		time.Sleep(3 * time.Second)
		if !slices.Equal(phases(team), []string{"down"}) || !slices.Equal(phases(oncall), []string{"down"}) {
			t.Fatalf("told %q and %q", team.got(), oncall.got())
		}
		time.Sleep(time.Hour)
		v.setDown(false)
		time.Sleep(5 * time.Second)
		v.setDown(true) // not for good yet
		time.Sleep(30 * time.Second)
		if len(team.got()) != 1 {
			t.Fatalf("told %q while the store comes and goes", team.got())
		}
		v.setDown(false)
		time.Sleep(time.Hour)
		if !slices.Equal(phases(team), []string{"down", "back"}) || !slices.Equal(phases(oncall), []string{"down", "back"}) {
			t.Errorf("told %q and %q", team.got(), oncall.got())
		}
		v.setDown(true)
		time.Sleep(2 * time.Minute)
		if ids := slices.Compact(sorted(team.got())); len(ids) != 3 {
			t.Errorf("the second loss has the id of the first: %q", ids)
		}
		if text := log.String(); strings.Count(text, "control plane down") != 2 || strings.Count(text, "control plane back") != 1 {
			t.Errorf("the channel log was told: %s", text)
		}
	})
}

func TestEmergencyRepeatsOnlyWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, bad, refusing, v := &mailbox{}, &mailbox{answer: status(500)}, &mailbox{answer: status(400)}, &vitals{}
		v.setChannels(hook("good"), hook("bad"), hook("refusing"))
		guard(t, notify.EmergencyOptions{
			Store: v, Path: filepath.Join(t.TempDir(), "emergency.json"),
			Transport: network{"good": good.ServeHTTP, "bad": bad.ServeHTTP, "refusing": refusing.ServeHTTP},
		})
		time.Sleep(time.Second)
		v.setDown(true)
		time.Sleep(time.Hour)
		if len(good.got()) != 1 || len(refusing.got()) != 1 {
			t.Errorf("told %q and %q", good.got(), refusing.got())
		}
		if n := len(bad.got()); n < 10 || n > 40 || len(slices.Compact(bad.got())) != 1 {
			t.Errorf("tried %d times in an hour: %q", n, bad.got())
		}
		bad.setAnswer(nil)
		time.Sleep(10 * time.Minute)
		v.setDown(false)
		time.Sleep(time.Minute)
		if got := phases(bad); !slices.Equal(got[len(got)-2:], []string{"down", "back"}) {
			t.Errorf("told %q", got)
		}
		if len(refusing.got()) != 1 {
			t.Errorf("who never heard of the loss hears of the return: %q", refusing.got())
		}
	})
}

func TestEmergencyRemembersAcrossRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		team, v := &mailbox{}, &vitals{}
		v.setChannels(hook("team"))
		o := notify.EmergencyOptions{Store: v, Path: filepath.Join(t.TempDir(), "emergency.json"), Transport: network{"team": team.ServeHTTP}}
		stop := guard(t, o)
		time.Sleep(time.Second)
		stop()
		// The store is away when the replica starts: only the journal knows the channels.
		o.Store = &vitals{down: true}
		stop = guard(t, o)
		time.Sleep(2 * time.Minute)
		stop()
		if got := phases(team); !slices.Equal(got, []string{"down"}) {
			t.Fatalf("told %q", got)
		}
		stop = guard(t, o)
		time.Sleep(10 * time.Minute)
		stop()
		if got := phases(team); !slices.Equal(got, []string{"down"}) {
			t.Fatalf("a restart repeats: %q", got)
		}
		o.Store = v
		stop = guard(t, o)
		time.Sleep(time.Minute)
		stop()
		guard(t, o)
		time.Sleep(time.Minute)
		if got := phases(team); !slices.Equal(got, []string{"down", "back"}) {
			t.Errorf("told %q", got)
		}
	})
}

func TestEmergencyWithoutAUsableJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		team, v := &mailbox{}, &vitals{}
		v.setChannels(hook("team"))
		path := filepath.Join(t.TempDir(), "emergency.json")
		if err := os.MkdirAll(filepath.Join(path, "in-the-way"), 0o700); err != nil {
			t.Fatal(err)
		}
		log := &syncBuffer{}
		guard(t, notify.EmergencyOptions{
			Store: v, Path: path, Transport: network{"team": team.ServeHTTP},
			Logger: telemetry.NewLogger(telemetry.Options{Output: log}),
		})
		time.Sleep(time.Second)
		v.setDown(true)
		time.Sleep(2 * time.Minute)
		v.setDown(false)
		time.Sleep(2 * time.Minute)
		if got := phases(team); !slices.Equal(got, []string{"down", "back"}) {
			t.Errorf("told %q", got)
		}
		for _, text := range []string{"the journal is begun anew", "a restart may repeat it"} {
			if !strings.Contains(log.String(), text) {
				t.Errorf("the log does not say %q: %s", text, log)
			}
		}
	})
}

func TestEmergencyForgetsRemovedChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone, kept, v := &mailbox{}, &mailbox{}, &vitals{}
		v.setChannels(hook("gone"), hook("kept"))
		path := filepath.Join(t.TempDir(), "emergency.json")
		guard(t, notify.EmergencyOptions{
			Store: v, Path: path, Transport: network{"gone": gone.ServeHTTP, "kept": kept.ServeHTTP},
		})
		time.Sleep(time.Second)
		v.setDown(true)
		time.Sleep(2 * time.Minute)
		v.setChannels(hook("kept"))
		v.setDown(false)
		time.Sleep(2 * time.Minute)
		if !slices.Equal(phases(gone), []string{"down"}) || !slices.Equal(phases(kept), []string{"down", "back"}) {
			t.Errorf("told %q and %q", gone.got(), kept.got())
		}
		written, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(written), `"alarm":{}`) {
			t.Errorf("the alarm goes on: %s, %v", written, err)
		}
	})
}

// TestEmergencyOverRealConnections is the same over sockets and with a real store whose backend goes away.
func TestEmergencyOverRealConnections(t *testing.T) {
	c, box := newCluster(t), &mailbox{}
	c.options = store.Options{Probe: 100 * time.Millisecond, Stale: time.Second}
	server := httptest.NewServer(http.HandlerFunc(box.ServeHTTP))
	defer server.Close()
	c.write(store.Put(store.ChannelKey("team"), webhookTo(server.URL)))
	transport := notify.NewTransport()
	defer transport.CloseIdleConnections()
	r := c.replica("r1", notify.Options{Transport: transport})
	path := filepath.Join(t.TempDir(), "emergency.json")
	guard(t, notify.EmergencyOptions{
		Store: r.store, Path: path, Transport: transport,
		After: 200 * time.Millisecond, BackAfter: 100 * time.Millisecond, Interval: 10 * time.Millisecond,
	})
	eventually(t, "the journal", func() bool { _, err := os.Stat(path); return err == nil })
	r.backend.SetDown(true)
	last := func() string { return strings.Join(phases(box), " ") }
	eventually(t, "the loss", func() bool { return strings.HasSuffix(last(), "down") })
	r.backend.SetDown(false)
	eventually(t, "the return", func() bool { return strings.HasSuffix(last(), "down back") })
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come", what)
		}
	}
}

func TestEmergencyOptionsAreRequired(t *testing.T) {
	for _, o := range []notify.EmergencyOptions{{}, {Store: &vitals{}}, {Store: &vitals{}, Path: "x"}, {Path: "x", Replica: "r"}} {
		if _, err := notify.NewEmergency(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}
