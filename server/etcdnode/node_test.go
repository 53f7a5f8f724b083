package etcdnode_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/jurymast/jurymast/server/etcdnode"
	"github.com/jurymast/jurymast/server/etcdnode/etcdtest"
)

func TestPutGetTxn(t *testing.T) {
	node := etcdtest.StartSingle(t)
	client := node.Client()
	put(t, client, "a", "1")
	if got := get(t, client, "a"); got != "1" {
		t.Fatalf("a = %q, want 1", got)
	}
	answer, err := client.Txn(t.Context()).
		If(clientv3.Compare(clientv3.Value("a"), "=", "1")).
		Then(clientv3.OpPut("a", "2"), clientv3.OpPut("b", "3")).
		Commit()
	if err != nil || !answer.Succeeded {
		t.Fatalf("transaction: %+v, %v", answer, err)
	}
	if a, b := get(t, client, "a"), get(t, client, "b"); a != "2" || b != "3" {
		t.Fatalf("a, b = %q, %q, want 2, 3", a, b)
	}
}

func TestReadyFast(t *testing.T) {
	node := etcdtest.StartSingle(t, etcdtest.WithFsync())
	if node.ReadyAfter() > time.Second {
		t.Errorf("a new node was ready after %v, want at most 1s", node.ReadyAfter())
	}
	put(t, node.Client(), "a", "1")
	node = etcdtest.Restart(t, node, etcdtest.WithFsync())
	if node.ReadyAfter() > time.Second {
		t.Errorf("a restarted node was ready after %v, want at most 1s", node.ReadyAfter())
	}
	if got := get(t, node.Client(), "a"); got != "1" {
		t.Errorf("after the restart a = %q, want 1", got)
	}
	t.Logf("restart ready after %v", node.ReadyAfter())
}

func TestCloseTwice(t *testing.T) {
	node := etcdtest.StartSingle(t)
	if node.Err() != nil {
		t.Fatalf("a running node has the error %v", node.Err())
	}
	answers := make(chan error, 2)
	for range cap(answers) {
		go func() { answers <- node.Close() }()
	}
	for range cap(answers) {
		if err := <-answers; err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	select {
	case <-node.Done():
	default:
		t.Error("Done is open after Close")
	}
	if node.Err() != nil {
		t.Errorf("an orderly close left the error %v", node.Err())
	}
}

func TestCloseEndsWatches(t *testing.T) {
	node := etcdtest.StartSingle(t)
	watch := node.Client().Watch(context.Background(), "a")
	put(t, node.Client(), "a", "1")
	if answer := <-watch; len(answer.Events) != 1 {
		t.Fatalf("watch answered %+v, want one event", answer)
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	timeout := time.After(5 * time.Second)
	for {
		select {
		case _, open := <-watch:
			if !open {
				return
			}
		case <-timeout:
			t.Fatal("the watch is still open 5s after Close")
		}
	}
}

func TestSecondNodeIsRefused(t *testing.T) {
	node := etcdtest.StartSingle(t)
	began := time.Now()
	_, err := etcdnode.Start(t.Context(), etcdnode.Options{DataDir: node.DataDir()})
	var locked *etcdnode.LockedError
	if !errors.As(err, &locked) || !errors.Is(err, etcdnode.ErrLocked) {
		t.Fatalf("second node: %v, want a LockedError", err)
	}
	if locked.Dir != node.DataDir() {
		t.Errorf("the error names %s, want %s", locked.Dir, node.DataDir())
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("refused after %v, want at once", took)
	}
	put(t, node.Client(), "a", "still served")
}

func put(tb testing.TB, client *clientv3.Client, key, value string) {
	tb.Helper()
	if _, err := client.Put(context.Background(), key, value); err != nil {
		tb.Fatalf("put %s: %v", key, err)
	}
}

func get(tb testing.TB, client *clientv3.Client, key string) string {
	tb.Helper()
	answer, err := client.Get(context.Background(), key)
	if err != nil {
		tb.Fatalf("get %s: %v", key, err)
	}
	if len(answer.Kvs) == 0 {
		return ""
	}
	return string(answer.Kvs[0].Value)
}

// Whoever is late must get an error soon, not an answer, a crash or silence.
func TestCallsAfterClose(t *testing.T) {
	node := etcdtest.StartSingle(t)
	client := node.Client()
	lease, err := client.Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	put(t, client, "a", "1")
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func(context.Context) error{
		"get": func(ctx context.Context) error { _, err := client.Get(ctx, "a"); return err },
		"serializable get": func(ctx context.Context) error {
			_, err := client.Get(ctx, "a", clientv3.WithSerializable())
			return err
		},
		"put":    func(ctx context.Context) error { _, err := client.Put(ctx, "a", "2"); return err },
		"delete": func(ctx context.Context) error { _, err := client.Delete(ctx, "a"); return err },
		"txn": func(ctx context.Context) error {
			_, err := client.Txn(ctx).Then(clientv3.OpGet("a")).Commit()
			return err
		},
		"compact":    func(ctx context.Context) error { _, err := client.Compact(ctx, 1); return err },
		"grant":      func(ctx context.Context) error { _, err := client.Grant(ctx, 5); return err },
		"keep alive": func(ctx context.Context) error { _, err := client.KeepAliveOnce(ctx, lease.ID); return err },
		"revoke":     func(ctx context.Context) error { _, err := client.Revoke(ctx, lease.ID); return err },
		"watch": func(ctx context.Context) error {
			for answer := range client.Watch(ctx, "a") {
				if len(answer.Events) > 0 {
					return nil
				}
			}
			return errors.Join(etcdnode.ErrClosed, ctx.Err()) // the channel is closed
		},
		"snapshot": func(ctx context.Context) error {
			snapshot, err := client.Snapshot(ctx)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, snapshot)
			return errors.Join(err, snapshot.Close())
		},
		"space":   func(context.Context) error { _, err := node.Space(); return err },
		"reclaim": func(ctx context.Context) error { _, err := node.Reclaim(ctx); return err },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			answer := make(chan error, 1)
			go func() { answer <- call(ctx) }()
			select {
			case err := <-answer:
				if !errors.Is(err, etcdnode.ErrClosed) {
					t.Errorf("after Close: %v, want ErrClosed", err)
				}
			case <-time.After(6 * time.Second):
				t.Error("after Close: silence")
			}
		})
	}
}

// Closing while everybody calls must neither crash nor hang.
func TestCloseUnderLoad(t *testing.T) {
	node := etcdtest.StartSingle(t)
	client := node.Client()
	var callers sync.WaitGroup
	calls := []func(context.Context) error{
		func(ctx context.Context) error { _, err := client.Get(ctx, "a"); return err },
		func(ctx context.Context) error {
			_, err := client.Get(ctx, "a", clientv3.WithSerializable())
			return err
		},
		func(ctx context.Context) error { _, err := client.Put(ctx, "a", "1"); return err },
		func(ctx context.Context) error { _, err := client.Grant(ctx, 60); return err },
		func(ctx context.Context) error {
			snapshot, err := client.Snapshot(ctx)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, snapshot)
			return errors.Join(err, snapshot.Close())
		},
	}
	begun := make(chan struct{}, len(calls))
	for i, call := range calls {
		callers.Go(func() {
			for first := true; ; first = false {
				if err := call(context.Background()); err != nil {
					if !errors.Is(err, etcdnode.ErrClosed) {
						t.Errorf("call %d ended with %v, want ErrClosed", i, err)
					}
					return
				}
				if first {
					begun <- struct{}{}
				}
			}
		})
	}
	for range calls {
		<-begun
	}
	if err := node.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	callers.Wait()
}
