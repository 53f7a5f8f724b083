package client

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func TestCacheRoundTrip(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	heard := now.Add(-time.Minute)
	in := map[string]*entry{
		"chat":  {state: &jv1.ContinuityState{Service: "chat", ActiveProvider: "a", Epoch: 3, Weights: map[string]int32{"b": 5}}, confirmed: true, asOf: now},
		"video": {state: &jv1.ContinuityState{Service: "video", Queueing: true}, asOf: now.Add(-time.Hour)},
	}
	data, err := encodeCache(in, &link{heard: heard}, now)
	if err != nil {
		t.Fatal(err)
	}
	out, err := decodeCache(data, now)
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != len(in) {
		t.Fatalf("%d services, want %d", len(out), len(in))
	}
	for service, e := range out {
		if !proto.Equal(e.state, in[service].state) || e.confirmed {
			t.Errorf("%s came back as %v, confirmed %t", service, e.state, e.confirmed)
		}
	}
	if !out["chat"].asOf.Equal(heard) || !out["video"].asOf.Equal(now.Add(-time.Hour)) {
		t.Errorf("known as of %s and %s", out["chat"].asOf, out["video"].asOf)
	}
	// A clock that was set back must not make an answer younger than new.
	early := now.Add(-24 * time.Hour)
	if out, err = decodeCache(data, early); err != nil || !out["chat"].asOf.Equal(early) {
		t.Errorf("with the clock set back: %s, %v", out["chat"].asOf, err)
	}
}

func TestWriteCacheLeavesNoRubbish(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, cacheFile+".123.tmp")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := New(Options{CacheDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c.save()
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || files[0].Name() != cacheFile {
		t.Errorf("the directory holds %v, %v", files, err)
	}
	info, err := files[0].Info()
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
}

// FuzzDecodeCache looks for a file that is neither refused nor the same after another round.
func FuzzDecodeCache(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	sound, err := encodeCache(map[string]*entry{"chat": {state: &jv1.ContinuityState{Service: "chat", Epoch: 1}, asOf: now}}, &link{}, now)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sound)
	f.Add([]byte("jurymast-cache 1 crc32c:00000000 0\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := decodeCache(data, now)
		if err != nil {
			return
		}
		again, err := encodeCache(entries, &link{}, now)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := decodeCache(again, now)
		if err != nil {
			t.Fatal(err)
		}
		third, err := encodeCache(twice, &link{}, now)
		if err != nil || len(twice) != len(entries) || !bytes.Equal(bodyOf(again), bodyOf(third)) {
			t.Errorf("a second round changed it (%v):\n%s\n%s", err, again, third)
		}
	})
}

// bodyOf leaves out the white space that protojson varies.
func bodyOf(b []byte) []byte {
	_, body, _ := bytes.Cut(b, []byte("\n"))
	return bytes.Join(bytes.Fields(body), nil)
}
