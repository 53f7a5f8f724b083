package campaign

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jurymast/jurymast/internal/campaign/cluster"
	"github.com/jurymast/jurymast/internal/campaign/traffic"
)

// Campaign C4, lost bytes: a server with its own etcd is killed in the middle of a write that it never acknowledged, so that
// its log ends in a torn record. It starts again with everything that it had acknowledged, and every run ends.
//
// The process is really killed; the tear is made afterwards, because what a killed process wrote stays in the kernel.
func TestATornTailOfTheLog(t *testing.T) {
	t.Parallel()
	c, s := startCluster(t, cluster.Options{Members: -1, Replicas: 1}), startSink(t)
	r := c.Replicas[0]
	const services = 6
	began := time.Now()
	if err := traffic.Install(within(t, time.Minute), r.Conn, services, s.URL()); err != nil {
		t.Fatal(err)
	}
	d := traffic.Drive(traffic.Options{Conns: c.Conns(), Services: services, Every: 20 * time.Millisecond, Seed: seed(t)})
	for i, torn := range []int{4, 100, 700} {
		waitFor(t, "traffic", func() bool { return d.Accepted() >= 5*(i+1) })
		if err := r.Kill(); err != nil {
			t.Fatal(err)
		}
		tear(t, r.DataDir, torn)
		if err := r.Start(within(t, time.Minute)); err != nil {
			t.Fatalf("with %d bytes of a torn record: %v", torn, err)
		}
		t.Logf("%d bytes of a torn record, at %v", torn, time.Since(began))
	}
	if report := judgeTraffic(t, c, d, s); report.Accepted < 15 {
		t.Errorf("%d runs accepted: too little to prove anything", report.Accepted)
	}
}

// tear writes the beginning of a record behind the last one of the log: its length, and a part of its bytes. What follows
// are the zeros of the space that was set aside.
func tear(t *testing.T, dir string, torn int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "etcd", "member", "wal", "*.wal"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no log in %s: %v", dir, err)
	}
	slices.Sort(files)
	path := files[len(files)-1]
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end := len(bytes.TrimRight(text, "\x00"))
	end += (8 - end%8) % 8 // records are padded to 8 bytes
	record := binary.LittleEndian.AppendUint64(nil, 1024)
	record = append(record, bytes.Repeat([]byte{0xa5}, torn)...)
	copy(text[end:], record)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
