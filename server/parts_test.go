package server

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/etcdnode"
	"github.com/jurymast/jurymast/server/store"
)

func TestCleanupGoesBackwardsAndOn(t *testing.T) {
	c := &cleanup{log: hclog.NewNullLogger()}
	var order []string
	broken := errors.New("broken")
	for _, name := range []string{"a", "b", "c"} {
		c.onStop(name, func(context.Context) error {
			order = append(order, name)
			if name == "b" {
				return broken
			}
			return nil
		})
	}
	err := c.run(t.Context())
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "stop b") {
		t.Errorf("error %v", err)
	}
	if got := strings.Join(order, ""); got != "cba" {
		t.Errorf("order %s", got)
	}
	if err := c.run(t.Context()); err != nil || len(order) != 3 {
		t.Errorf("again: %v, %v", err, order)
	}
}

func TestReplicaName(t *testing.T) {
	dir := t.TempDir()
	first, err := replicaName(dir, "", "Web-01.example.org")
	if err != nil || !strings.HasPrefix(first, "web-01-") || !dnsLabel.MatchString(first) {
		t.Fatalf("%q, %v", first, err)
	}
	if again, err := replicaName(dir, "", "renamed"); err != nil || again != first {
		t.Errorf("after a restart: %q, %v", again, err)
	}
	if asked, err := replicaName(dir, "b", "x"); err != nil || asked != "b" {
		t.Errorf("asked for: %q, %v", asked, err)
	}
	if kept, err := replicaName(dir, "", "x"); err != nil || kept != "b" {
		t.Errorf("kept: %q, %v", kept, err)
	}
	if err := os.WriteFile(filepath.Join(dir, replicaFile), []byte("not/a name"), 0o600); err != nil {
		t.Fatal(err)
	}
	if mended, err := replicaName(dir, "", "x"); err != nil || !strings.HasPrefix(mended, "x-") {
		t.Errorf("over a broken file: %q, %v", mended, err)
	}
	for host, want := range map[string]string{
		"": "replica", "...": "replica", "---": "replica", "a_b": "a-b", "ÄÖ": "replica", strings.Repeat("x", 99): strings.Repeat("x", 50),
	} {
		if got := label(host); got != want {
			t.Errorf("label(%q) = %q, want %q", host, got, want)
		}
	}
	if _, err := replicaName(filepath.Join(dir, "none"), "", "x"); err == nil {
		t.Error("a directory that isn't there was written to")
	}
}

// counting is a backend that counts what reaches it.
type counting struct {
	store.Backend
	commits int
}

func (c *counting) Commit(context.Context, store.Txn) (store.Result, error) {
	c.commits++
	return store.Result{Committed: true}, nil
}

func TestWritesAreRefusedWithoutSpace(t *testing.T) {
	state := store.Txn{Then: []store.Op{store.Put(store.RunKey("r"), &jv1.Run{})}}
	bulk := store.Txn{Then: []store.Op{store.Put(store.ProviderKey("p"), &jv1.Provider{}), store.Delete(store.RunKey("r"))}}
	revision := store.Txn{Then: []store.Op{store.Put(store.RunbookRevisionKey("r", 1), &jv1.Runbook{})}}
	deletion := store.Txn{Then: []store.Op{store.Delete(store.ProviderKey("p"))}}
	question := store.Txn{If: []store.Compare{store.Absent(store.RunKey("r"))}}
	for _, test := range []struct {
		space                     etcdnode.Space
		state, bulk, revision, no bool
	}{
		{space: etcdnode.Space{DiskFree: 1 << 40, Quota: 1000, InUse: 100}, state: true, bulk: true, revision: true},
		{space: etcdnode.Space{DiskFree: 1 << 40, Quota: 1000, InUse: 650}, state: true, bulk: true, revision: true},
		{space: etcdnode.Space{DiskFree: 1 << 40, Quota: 1000, InUse: 800}, state: true},
		{space: etcdnode.Space{DiskFree: 1 << 20, Quota: 1000, InUse: 100}},
		{space: etcdnode.Space{DiskFree: 1 << 40, Quota: 1000, InUse: 100, NoSpace: true}},
		{space: etcdnode.Space{DiskFree: 1 << 40, Quota: 1000, InUse: 100, Corrupt: true}},
	} {
		below := &counting{}
		r := newRoomy(below)
		r.look(func() (etcdnode.Space, error) { return test.space, nil }, hclog.NewNullLogger())
		for _, x := range []struct {
			what    string
			txn     store.Txn
			allowed bool
		}{{"state", state, test.state}, {"bulk", bulk, test.bulk}, {"revision", revision, test.revision}, {"deletion", deletion, true}, {"question", question, true}} {
			before := below.commits
			_, err := r.Commit(t.Context(), x.txn)
			if x.allowed != (err == nil) || x.allowed != (below.commits > before) || err != nil && !errors.Is(err, store.ErrNoSpace) {
				t.Errorf("%+v: %s: %v, %d commits", test.space, x.what, err, below.commits-before)
			}
		}
	}
}

func TestSpaceIsToldWhenItChanges(t *testing.T) {
	var log bytes.Buffer
	logger := hclog.New(&hclog.LoggerOptions{Output: &log})
	r := newRoomy(&counting{})
	space := etcdnode.Space{DiskFree: 1 << 20, Quota: 1000}
	measure := func() (etcdnode.Space, error) { return space, nil }
	r.look(measure, logger)
	if !strings.Contains(log.String(), "[ERROR]") || !strings.Contains(log.String(), "disk_low") {
		t.Errorf("log %s", log.String())
	}
	log.Reset()
	r.look(measure, logger)
	if log.Len() > 0 {
		t.Errorf("the same is told again: %s", log.String())
	}
	r.look(func() (etcdnode.Space, error) { return etcdnode.Space{}, errors.New("no answer") }, logger)
	if _, err := r.Commit(t.Context(), store.Txn{Then: []store.Op{store.Put(store.LiveRunKey("x"), &recordv1.LiveRun{})}}); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("a measurement that failed lifted the verdict: %v", err)
	}
	log.Reset()
	space.DiskFree = 1 << 40
	r.look(measure, logger)
	if !strings.Contains(log.String(), "there is space again") {
		t.Errorf("log %s", log.String())
	}
}

// TestAPartThatEndsEndsTheServer lets a part end by itself, with and without an error.
func TestAPartThatEndsEndsTheServer(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct{ err, want error }{{broken, broken}, {nil, errEnded}} {
		s, err := New(Options{DataDir: t.TempDir(), GRPCListen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		s.background("steady", func(ctx context.Context) error { <-ctx.Done(); return nil })
		s.background("weak", func(context.Context) error { return test.err })
		select {
		case <-s.Done():
		case <-time.After(10 * time.Second):
			t.Fatal("the server goes on")
		}
		if err := s.Err(); !errors.Is(err, test.want) || !strings.Contains(err.Error(), "weak") {
			t.Errorf("error %v", err)
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Errorf("stop: %v", err)
		}
		if err := s.Err(); !errors.Is(err, test.want) {
			t.Errorf("stopping hides why: %v", err)
		}
	}
}
