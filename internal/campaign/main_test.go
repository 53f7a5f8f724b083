package campaign

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jurymast/jurymast/internal/campaign/cluster"
	"github.com/jurymast/jurymast/internal/campaign/sink"
)

// binaries builds the programs, once for all campaigns of this process, into a directory that TestMain removes.
var binaries = sync.OnceValues(func() (cluster.Binaries, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return cluster.Build(ctx, built)
})

// built is where the programs are.
var built string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if built, err = os.MkdirTemp("", "jurymast-campaign-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(built)
		return m.Run()
	}())
}

// seed is the campaign's: of the environment, or of the time. It is printed in any case.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	if text := os.Getenv("JURYMAST_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("JURYMAST_SEED: %v", err)
		}
	}
	t.Logf("seed %d: repeat with JURYMAST_SEED=%d", n, n)
	return n
}

// length is how long a long campaign lasts.
func length(t *testing.T, otherwise time.Duration) time.Duration {
	t.Helper()
	if text := os.Getenv("JURYMAST_FOR"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("JURYMAST_FOR: %v", err)
		}
		return d
	}
	return otherwise
}

// startCluster starts an installation and ends it with the test, whose logs it keeps when it failed.
func startCluster(t *testing.T, o cluster.Options) *cluster.Cluster {
	t.Helper()
	b, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	o.Binaries = b
	if o.Dir, err = os.MkdirTemp("", "jurymast-campaign-"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c, err := cluster.Start(within(t, 2*time.Minute), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d members and %d replicas serve after %v", len(c.Members), len(c.Replicas), time.Since(began).Round(time.Millisecond))
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("data and logs are kept in %s; their ends:\n%s", o.Dir, c.Tails(12))
			return
		}
		if err := os.RemoveAll(o.Dir); err != nil {
			t.Error(err)
		}
	})
	return c
}

// startSink starts a sink that ends with the test.
func startSink(t *testing.T) *sink.Sink {
	t.Helper()
	s, err := sink.Start(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// within is a context of the test that ends after a time.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// artifact is a file that outlives a failed test.
func artifact(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "jurymast-campaign-")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}
