package etcdnode_test

import (
	"context"
	"errors"
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
