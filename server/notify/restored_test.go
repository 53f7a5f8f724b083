package notify_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	"github.com/jurymast/jurymast/server/notify"
)

// TestEmergencyTellsOfARestore: the replica that noticed tells each channel once, also after a restart, and tells again when
// a human has confirmed; another one tells only when that replica is gone.
func TestEmergencyTellsOfARestore(t *testing.T) {
	for name, c := range map[string]struct {
		by   string
		want int // messages within the first half minute
	}{"noticed here": {"r1", 1}, "noticed by one that is gone": {"r2", 0}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				team, v := &mailbox{}, &vitals{}
				v.setChannels(hook("team"))
				o := notify.EmergencyOptions{
					Store: v, Path: filepath.Join(t.TempDir(), "emergency.json"), Transport: network{"team": team.ServeHTTP},
				}
				stop := guard(t, o)
				time.Sleep(time.Minute)
				v.restore(&recordv1.ObserveOnly{Since: timestamppb.Now(), Detail: "it went back", Replica: c.by})
				time.Sleep(30 * time.Second)
				if got := team.got(); len(got) != c.want {
					t.Fatalf("told %q", got)
				}
				time.Sleep(time.Hour)
				stop()
				stop = guard(t, o)
				time.Sleep(time.Hour)
				if got := team.got(); len(got) != 1 || !strings.HasPrefix(got[0], "restored-") {
					t.Fatalf("told %q", got)
				}
				v.restore(nil)
				time.Sleep(time.Hour)
				if !slices.Equal(phases(team), []string{"down", "back"}) {
					t.Errorf("told %q", team.got())
				}
				stop()
			})
		})
	}
}
