package etcdnode_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jurymast/jurymast/server/etcdnode"
	"github.com/jurymast/jurymast/server/etcdnode/etcdtest"
)

// These tests need a process that may die, so the test binary runs itself: childRole says what to be, childDir where.
const (
	childRole = "ETCDNODE_TEST_ROLE"
	childDir  = "ETCDNODE_TEST_DIR"
)

func TestMain(m *testing.M) {
	switch role := os.Getenv(childRole); role {
	case "":
		os.Exit(m.Run())
	case "writer":
		writer(os.Getenv(childDir))
	case "full-disk":
		fullDisk(os.Getenv(childDir))
	default:
		fatal("unknown role", errors.New(role))
	}
}

func fatal(what string, err error) {
	fmt.Fprintln(os.Stderr, what+":", err)
	os.Exit(1)
}

// writer puts keys until it is killed and says which ones were acknowledged.
func writer(dir string) {
	node, err := etcdnode.Start(context.Background(), etcdnode.Options{DataDir: dir})
	if err != nil {
		fatal("start", err)
	}
	run := time.Now().UnixNano()
	for i := 0; ; i++ {
		key := fmt.Sprintf("k/%d/%d", run, i)
		if _, err := node.Client().Put(context.Background(), key, key); err != nil {
			fatal("put", err)
		}
		fmt.Println(key)
	}
}

// fullDisk makes every further write to a file fail, as a full disk does, and tells what the node makes of it.
func fullDisk(dir string) {
	node, err := etcdnode.Start(context.Background(), etcdnode.Options{DataDir: dir, CloseTimeout: 5 * time.Second})
	if err != nil {
		fatal("start", err)
	}
	if _, err := node.Client().Put(context.Background(), "before", "1"); err != nil {
		fatal("put", err)
	}
	watch := node.Client().Watch(context.Background(), "before")
	lease, err := node.Client().Grant(context.Background(), 60)
	if err != nil {
		fatal("grant", err)
	}
	alive, err := node.Client().KeepAlive(context.Background(), lease.ID)
	if err != nil {
		fatal("keep alive", err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1, Max: 1}); err != nil {
		fatal("setrlimit", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, err = node.Client().Put(ctx, "after", "1")
	fmt.Println("put failed:", errors.Is(err, etcdnode.ErrClosed), errors.Is(err, etcdnode.ErrHalted))
	select {
	case <-node.Done():
		fmt.Println("node ended:", errors.Is(node.Err(), etcdnode.ErrHalted), node.Err())
	case <-time.After(5 * time.Second):
		fmt.Println("node ended: false")
	}
	for range watch { // until it is closed
	}
	for range alive {
	}
	fmt.Println("watch and lease closed: true")
	began := time.Now()
	err = node.Close()
	fmt.Println("close:", errors.Is(err, etcdnode.ErrHalted), time.Since(began) < time.Second)
	fmt.Println("lock kept:", node.PredecessorLock().Held())
}

func child(t *testing.T, role, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childRole+"="+role, childDir+"="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

func TestKillKeepsAcknowledgedWrites(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "etcd")
	var acknowledged []string
	for round := range 3 {
		acknowledged = append(acknowledged, killedWriter(t, dir, 20+130*round)...)
	}
	node := etcdtest.StartSingle(t, etcdtest.WithDataDir(dir), etcdtest.WithFsync())
	for _, key := range acknowledged {
		if got := get(t, node.Client(), key); got != key {
			t.Errorf("%s was acknowledged and is %q after kill -9", key, got)
		}
	}
	if !node.PredecessorLock().Held() {
		t.Error("the node that took over doesn't hold the predecessor lock")
	}
	t.Logf("%d acknowledged writes kept, ready after %v", len(acknowledged), node.ReadyAfter())
}

// killedWriter lets a writer acknowledge some writes, checks that a second node is refused meanwhile, and kills it.
func killedWriter(t *testing.T, dir string, writes int) []string {
	t.Helper()
	cmd := child(t, "writer", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var acknowledged []string
	lines := bufio.NewScanner(out)
	for len(acknowledged) < writes && lines.Scan() {
		acknowledged = append(acknowledged, lines.Text())
	}
	_, err = etcdnode.Start(t.Context(), etcdnode.Options{DataDir: dir})
	var locked *etcdnode.LockedError
	if !errors.As(err, &locked) || locked.PID != cmd.Process.Pid {
		t.Errorf("a second node beside process %d: %v", cmd.Process.Pid, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// What it still said before it died counts; a torn last line does not.
	for lines.Scan() {
		if key := lines.Text(); strings.HasPrefix(key, "k/") {
			acknowledged = append(acknowledged, key)
		}
	}
	_ = cmd.Wait()
	if len(acknowledged) < writes {
		t.Fatalf("the writer acknowledged %d writes, want at least %d", len(acknowledged), writes)
	}
	return acknowledged
}

// A node may be killed at any moment of its first start.
func TestKillWhileCreating(t *testing.T) {
	for round := range 12 {
		dir := filepath.Join(t.TempDir(), "etcd")
		cmd := child(t, "writer", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Duration(5+round*8) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		node := etcdtest.StartSingle(t, etcdtest.WithDataDir(dir))
		put(t, node.Client(), "a", "1")
		if node = etcdtest.Restart(t, node); get(t, node.Client(), "a") != "1" {
			t.Errorf("round %d: the write after the killed start is lost", round)
		}
	}
}

func TestFullDiskEndsTheNodeNotTheProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "etcd")
	out, err := child(t, "full-disk", dir).Output()
	if err != nil {
		t.Fatalf("the process died with its etcd: %v\n%s", err, out)
	}
	for _, want := range []string{
		"put failed: true true",
		"node ended: true etcd halted: failed to save Raft hard state and entries",
		"watch and lease closed: true",
		"close: true true",
		"lock kept: true",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("missing %q in:\n%s", want, out)
		}
	}
	node := etcdtest.StartSingle(t, etcdtest.WithDataDir(dir))
	if before, after := get(t, node.Client(), "before"), get(t, node.Client(), "after"); before != "1" || after != "" {
		t.Errorf("before, after = %q, %q, want 1 and nothing", before, after)
	}
}

func TestDamagedDataIsRefused(t *testing.T) {
	for _, c := range []struct {
		name, file string
		// halts says that etcd calls the damage fatal instead of returning an error.
		halts bool
	}{
		{"log", "member/wal/*.wal", false},
		{"database", "member/snap/db", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			node := etcdtest.StartSingle(t, etcdtest.WithFsync())
			for i := range 100 {
				put(t, node.Client(), fmt.Sprint(i), strings.Repeat("x", 500))
			}
			if err := node.Close(); err != nil {
				t.Fatal(err)
			}
			damage(t, filepath.Join(node.DataDir(), c.file))
			_, err := etcdnode.Start(t.Context(), etcdnode.Options{DataDir: node.DataDir()})
			if err == nil || errors.Is(err, etcdnode.ErrHalted) != c.halts || !strings.Contains(err.Error(), node.DataDir()) {
				t.Fatalf("start on a damaged %s: %v", c.name, err)
			}
			// After a halt etcd still has files open, so nobody may come near them.
			_, again := etcdnode.Start(t.Context(), etcdnode.Options{DataDir: node.DataDir()})
			if again == nil || errors.Is(again, etcdnode.ErrLocked) != c.halts {
				t.Errorf("second start: %v, after %v", again, err)
			}
		})
	}
}

// damage overwrites 16 KiB after the first eight bytes.
func damage(t *testing.T, pattern string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no file %s: %v", pattern, err)
	}
	file, err := os.OpenFile(files[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte(strings.Repeat("damaged!", 2048)), 8); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}
