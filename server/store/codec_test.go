package store_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	"github.com/jurymast/jurymast/server/store"
)

func sample() *recordv1.Session {
	return &recordv1.Session{Replica: "r1", Version: "v1.2.3", StartTime: &timestamppb.Timestamp{Seconds: 1_763_000_000}}
}

func TestSealAndOpen(t *testing.T) {
	sealed := store.Seal(sample())
	if !bytes.Equal(sealed, store.Seal(sample())) {
		t.Error("equal messages are sealed differently")
	}
	got := new(recordv1.Session)
	if err := store.Open(sealed, got); err != nil || !proto.Equal(got, sample()) {
		t.Errorf("opened %v, %v", got, err)
	}
	if err := store.Open(store.Seal(&recordv1.Session{}), got); err != nil {
		t.Errorf("empty message: %v", err)
	}
}

// TestOpenNoticesEveryFlippedBit: etcd doesn't, on a single member.
func TestOpenNoticesEveryFlippedBit(t *testing.T) {
	sealed := store.Seal(sample())
	for i := range sealed {
		for bit := range 8 {
			damaged := bytes.Clone(sealed)
			damaged[i] ^= 1 << bit
			want := store.ErrCorrupt
			if i == 0 {
				want = store.ErrForeignRecord
			}
			if err := store.Open(damaged, new(recordv1.Session)); !errors.Is(err, want) {
				t.Errorf("bit %d of byte %d: %v, want %v", bit, i, err, want)
			}
		}
	}
	for cut := range sealed {
		if err := store.Open(sealed[:cut], new(recordv1.Session)); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v", cut, err)
		}
	}
}

// What is compressed opens as what is not, and is smaller where there is something to save.
func TestCompressor(t *testing.T) {
	long := &recordv1.Session{Replica: strings.Repeat("replica ", 1000)}
	var c store.Compressor
	for _, m := range []*recordv1.Session{sample(), {}, long} {
		got := new(recordv1.Session)
		if err := store.Open(c.Seal(m), got); err != nil || !proto.Equal(got, m) {
			t.Errorf("opened %v, %v", got, err)
		}
	}
	if plain, small := len(store.Seal(long)), len(c.Seal(long)); small > plain/10 {
		t.Errorf("%d bytes became %d", plain, small)
	}
	sealed := c.Seal(long)
	for i := 1; i < len(sealed); i++ {
		damaged := bytes.Clone(sealed)
		damaged[i] ^= 4
		if err := store.Open(damaged, new(recordv1.Session)); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("byte %d: %v", i, err)
		}
	}
}

// A small value that would grow without end is refused.
func TestOpenBoundsWhatItInflates(t *testing.T) {
	bomb := new(store.Compressor).Seal(&recordv1.Session{Replica: strings.Repeat("x", 17<<20)})
	if err := store.Open(bomb, new(recordv1.Session)); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("%d bytes: %v", len(bomb), err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(store.Seal(sample()))
	f.Add(new(store.Compressor).Seal(sample()))
	f.Add([]byte{})
	f.Add([]byte{1, 0, 0, 0, 0})
	f.Add([]byte{2, 0, 0, 0, 0, 10, 2})
	f.Fuzz(func(t *testing.T, value []byte) {
		m := new(recordv1.Session)
		if err := store.Open(value, m); err != nil {
			if !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrForeignRecord) {
				t.Errorf("unnamed error %v", err)
			}
			return
		}
		again := new(recordv1.Session)
		if err := store.Open(store.Seal(m), again); err != nil || !proto.Equal(m, again) {
			t.Errorf("%v becomes %v, %v", m, again, err)
		}
	})
}

// TestKeysStayInTheirFamilies: each builder writes into one family, no family is inside another one, and numbers sort.
func TestKeysStayInTheirFamilies(t *testing.T) {
	families := map[string]string{
		store.ProviderKey("n"): store.Providers, store.ServiceKey("n"): store.Services, store.DetectorKey("n"): store.Detectors,
		store.ChannelKey("n"): store.Channels, store.RunbookKey("n"): store.Runbooks, store.RunbookRevisionKey("n", 3): store.RunbookRevisions,
		store.ContinuityKey("n"): store.Continuity, store.InForceKey("gw 1/a"): store.InForce, store.VotesKey("n", "r"): store.VotesPrefix,
		store.ReportKey("s", "p", "d", "a/b"): store.Reports, store.HealthKey("s", "p"): store.HealthPrefix, store.TriggerKey("t"): store.Triggers,
		store.RunKey("r"): store.Runs, store.RunEventsKey("r", 1): store.RunEventsPrefix, store.LiveRunKey("s"): store.LiveRuns,
		store.EpisodeKey("s", "p", 1, "b"): store.Episodes, store.CooldownKey("s", "p", "b"): store.Cooldowns,
		store.AutomationKey(""): store.AutomationPrefix, store.AutomationKey("global"): store.AutomationPrefix, store.OutboxKey("n"): store.Outbox,
		store.DeliveryKey("n"): store.Deliveries, store.RequestKey("cn=a/b", "x/y"): store.Requests, store.AuditKey("a"): store.Audit,
		store.RestoreEpochKey(): store.Meta, store.RetiredKey("n"): store.Retired,
	}
	for key, family := range families {
		if !strings.HasPrefix(key, family) || !strings.HasPrefix(key, store.Root) {
			t.Errorf("%q is not in %q", key, family)
		}
		for _, other := range families {
			if other != family && strings.HasPrefix(key, other) {
				t.Errorf("%q is in %q and in %q", key, family, other)
			}
		}
	}
	if len(families) != 25 {
		t.Errorf("%d different keys", len(families))
	}
	numbers := []string{}
	for _, n := range []int64{1, 2, 9, 10, 99, 100, 999_999_999_999} {
		numbers = append(numbers, store.RunEventsKey("r", n))
	}
	if !slices.IsSorted(numbers) {
		t.Errorf("not sorted: %v", numbers)
	}
}
