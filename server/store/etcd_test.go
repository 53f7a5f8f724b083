package store_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	jurymastv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/etcdnode/etcdtest"
	"github.com/jurymast/jurymast/server/store"
)

func dial(t *testing.T, endpoints ...string) *store.Etcd {
	t.Helper()
	e, err := store.DialEtcd(store.DialOptions{Endpoints: endpoints})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	endpoint := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	e := dial(t, endpoint)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err = e.Commit(ctx, claim("a", "1", 0))
	wantOutcome(t, err, store.ErrUnavailable)
	_, err = e.Range(ctx, store.Query{Prefix: store.Root})
	wantOutcome(t, err, store.ErrUnavailable)
	wantOutcome(t, e.Leases().KeepAlive(ctx, 1), store.ErrUnavailable)
	if ctx.Err() != nil {
		t.Error("refused connections took until the deadline")
	}
}

// TestStoreSurvivesARestartOfItsServer: reads go on, writes are refused, and then everything continues where it was.
func TestStoreSurvivesARestartOfItsServer(t *testing.T) {
	node := etcdtest.StartSingle(t)
	s := store.New(store.Options{Backend: dial(t, node.Endpoint()), Probe: 100 * time.Millisecond, Stale: time.Second})
	t.Cleanup(s.Close)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	session, err := s.OpenSession(t.Context(), store.SessionOptions{Replica: "r1", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	sub := s.Subscribe([]string{store.Providers}, store.Cursor{})
	defer sub.Close()
	put(t, s, "before")
	for seen := ""; seen != "+before"; {
		_, seen = next(t, sub)
		if seen == "reset +before" {
			break
		}
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the loss to be noticed", func() bool { return !s.Freshness().Live })
	s.Read(func(v store.View) {
		if store.Get[*jurymastv1.Provider](v, store.ProviderKey("before")).Mod == 0 {
			t.Error("the last picture is gone")
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = s.Commit(ctx, claim("away", "1", 0))
	wantOutcome(t, err, store.ErrUnavailable)

	etcdtest.Restart(t, node)
	waitFor(t, "the store to be live again", func() bool { return s.Freshness().Live })
	result, err := s.Commit(ctx, store.Txn{
		If:   []store.Compare{session.Fence()},
		Then: []store.Op{store.Put(store.ProviderKey("after"), provider("after"))},
	})
	if err != nil || !result.Committed {
		t.Fatalf("commit in the old session: %+v, %v, session: %v", result, err, session.Err())
	}
	if _, got := next(t, sub); got != "+after" {
		t.Errorf("subscriber saw %q", got)
	}
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestFullStoreRefusesClearly fills etcd's quota: what is refused was not stored, what is acknowledged was, and reads
// and deletions go on.
func TestFullStoreRefusesClearly(t *testing.T) {
	node := etcdtest.StartSingle(t, etcdtest.WithQuota(4<<20))
	e := store.NewEtcd(store.EtcdOptions{Client: node.Client()})
	t.Cleanup(func() { _ = e.Close() })
	s := start(t, e)
	big := func(i int) store.Txn {
		op := store.Op{Key: store.Audit + strconv.Itoa(i), Value: bytes.Repeat([]byte{byte(i)}, 200_000)}
		return store.Txn{
			If: []store.Compare{store.Absent(op.Key)}, Then: []store.Op{op},
			Witness: op.Key, Mine: func(stored []byte) bool { return stored != nil },
		}
	}
	stored, refused := 0, 0
	for i := 0; refused < 3; i++ {
		if i > 1000 { // etcd looks at the size of what it has written out, ten times a second
			t.Fatalf("200 MB went into a quota of 4 MiB: %d stored, %d refused", stored, refused)
		}
		result, err := s.Commit(t.Context(), big(i))
		page, readErr := e.Range(t.Context(), store.Query{Prefix: store.Audit + strconv.Itoa(i), Before: store.Audit + strconv.Itoa(i) + "\x00"})
		if readErr != nil {
			t.Fatal(readErr)
		}
		there := len(page.Entries) > 0
		switch {
		case err == nil && result.Committed && there:
			stored++
		case errors.Is(err, store.ErrNoSpace) && !there:
			refused++
		default:
			t.Fatalf("%d: %+v, %v, stored: %v", i, result, err, there)
		}
	}
	if stored == 0 {
		t.Error("nothing was ever stored")
	}
	if _, err := e.Leases().Grant(t.Context(), time.Minute); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("lease of a full store: %v", err)
	}
	if result, err := s.Commit(t.Context(), store.Txn{Then: []store.Op{store.Delete(store.Audit + "0")}}); err != nil || !result.Committed {
		t.Errorf("delete in a full store: %+v, %v", result, err)
	}
	if !s.Freshness().Live {
		t.Error("a full store is not a dead one")
	}
}

// TestCommitsThroughChangesOfLeaders: several replicas count in one key while members of the cluster are stopped and
// started.
func TestCommitsThroughChangesOfLeaders(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 3)
	countWhile(t, cluster.Endpoints(), func() {
		for range 2 {
			leader := cluster.Leader()
			cluster.Stop(leader)
			time.Sleep(2500 * time.Millisecond) // the others elect a leader and go on
			cluster.Restart(leader)
		}
	})
}

// TestCommitsThroughBrokenConnections: the connections are cut again and again, wherever the requests are at that
// moment.
func TestCommitsThroughBrokenConnections(t *testing.T) {
	node := etcdtest.StartSingle(t)
	p := startProxy(t, strings.TrimPrefix(node.Endpoint(), "unix://"), nil)
	countWhile(t, []string{p.address()}, func() {
		for range 60 {
			time.Sleep(time.Duration(20+rand.IntN(40)) * time.Millisecond)
			p.cut()
		}
	})
}

// countWhile lets replicas count in one key while something happens to the store. Every acknowledged increment counts,
// and no other.
func countWhile(t *testing.T, endpoints []string, happens func()) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	const replicas = 3
	stop := make(chan struct{})
	committed, unavailable := make([]int, replicas), make([]int, replicas)
	var wait sync.WaitGroup
	for r := range replicas {
		s := start(t, dial(t, endpoints...))
		wait.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				ok, err := count(ctx, s, fmt.Sprintf("%d-%d", r, i))
				switch {
				case errors.Is(err, store.ErrUnavailable):
					unavailable[r]++
					time.Sleep(10 * time.Millisecond)
				case err != nil:
					t.Errorf("replica %d: %v", r, err)
					return
				case ok:
					committed[r]++
				}
			}
		})
	}
	happens()
	close(stop)
	wait.Wait()
	s := start(t, dial(t, endpoints...))
	total, err := store.Fetch[*jurymastv1.Provider](ctx, s, store.ProviderKey("counter"))
	if err != nil {
		t.Fatal(err)
	}
	sum := committed[0] + committed[1] + committed[2]
	t.Logf("committed %v, unavailable %v", committed, unavailable)
	if total.Msg.GetName() != strconv.Itoa(sum) || sum < 20 {
		t.Errorf("counter %s, %d increments were acknowledged", total.Msg.GetName(), sum)
	}
}

// count increments a counter that is kept in a provider's name, with a mark that tells whose increment it was.
func count(ctx context.Context, s *store.Store, id string) (bool, error) {
	now, err := store.Fetch[*jurymastv1.Provider](ctx, s, store.ProviderKey("counter"))
	if err != nil {
		return false, err
	}
	n, _ := strconv.Atoi(now.Msg.GetName()) // empty at first
	mark := store.ChannelKey(id)
	result, err := s.Commit(ctx, store.Txn{
		If:      []store.Compare{store.Unchanged(now.Key, now.Mod), store.Absent(mark)},
		Then:    []store.Op{store.Put(now.Key, provider(strconv.Itoa(n+1))), store.Put(mark, provider(id))},
		Witness: mark,
		Mine:    func(stored []byte) bool { return stored != nil },
	})
	return result.Committed, err
}

func TestDialWithTLS(t *testing.T) {
	node := etcdtest.StartSingle(t)
	https := httptest.NewTLSServer(nil) // for its certificate
	defer https.Close()
	p := startProxy(t, strings.TrimPrefix(node.Endpoint(), "unix://"), &tls.Config{
		Certificates: https.TLS.Certificates, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12,
	})
	roots := x509.NewCertPool()
	roots.AddCert(https.Certificate())
	for name, c := range map[string]struct {
		roots *x509.CertPool
		want  error
	}{
		"trusted":   {roots, nil},
		"untrusted": {x509.NewCertPool(), store.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := store.DialEtcd(store.DialOptions{
				Endpoints: []string{"https://" + p.address()},
				TLS:       &tls.Config{RootCAs: c.roots, MinVersion: tls.VersionTLS12},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			result, err := e.Commit(t.Context(), claim(name, "1", 0))
			wantOutcome(t, err, c.want)
			if result.Committed != (c.want == nil) {
				t.Errorf("commit: %+v", result)
			}
		})
	}
}
