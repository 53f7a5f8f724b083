package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

const (
	cacheFile    = "continuity.cache"
	cacheMagic   = "jurymast-cache"
	cacheVersion = 1
	cacheAtMost  = 64 << 20
)

// ErrCache says that the cache on disk can't be used. The client goes on without it.
var ErrCache = errors.New("client cache")

// The file is a line, `jurymast-cache <version> crc32c:<hex> <length of the body>`, and a body of JSON that a human can
// read in an emergency.
type cacheBody struct {
	SavedAt  time.Time      `json:"saved_at"`
	Services []cacheService `json:"services"`
}

type cacheService struct {
	AsOf  time.Time       `json:"as_of"`
	State json.RawMessage `json:"state"`
}

func checksum(body []byte) string {
	return fmt.Sprintf("crc32c:%08x", crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
}

func encodeCache(entries map[string]*entry, l *link, now time.Time) ([]byte, error) {
	body := cacheBody{SavedAt: now.UTC()}
	for _, service := range sortedKeys(entries) {
		e := entries[service]
		state, err := protojson.Marshal(e.state)
		if err != nil {
			return nil, fmt.Errorf("encoding the state of %s: %w", service, err)
		}
		body.Services = append(body.Services, cacheService{AsOf: e.trueAt(l).UTC(), State: state})
	}
	b, err := json.MarshalIndent(body, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the cache: %w", err)
	}
	b = append(b, '\n')
	head := fmt.Sprintf("%s %d %s %d\n", cacheMagic, cacheVersion, checksum(b), len(b))
	return append([]byte(head), b...), nil
}

// decodeCache returns the entries of a cache file, or an error that says what is wrong with it. Nothing of a damaged
// file is used.
func decodeCache(data []byte, now time.Time) (map[string]*entry, error) {
	head, b, ok := bytes.Cut(data, []byte("\n"))
	if !ok {
		return nil, errors.New("it has no first line")
	}
	var magic, sum string
	var version, length int
	if n, err := fmt.Sscanf(string(head), "%s %d %s %d", &magic, &version, &sum, &length); n < 2 || magic != cacheMagic {
		return nil, fmt.Errorf("it doesn't begin as a cache does: %.60q", head)
	} else if version != cacheVersion {
		return nil, fmt.Errorf("it has version %d, this program knows version %d", version, cacheVersion)
	} else if err != nil {
		return nil, fmt.Errorf("its first line can't be read: %w", err)
	}
	if length != len(b) {
		return nil, fmt.Errorf("its body has %d bytes, the first line says %d", len(b), length)
	}
	if got := checksum(b); got != sum {
		return nil, fmt.Errorf("its checksum is %s, the first line says %s", got, sum)
	}
	var body cacheBody
	if err := json.Unmarshal(b, &body); err != nil {
		return nil, fmt.Errorf("its body can't be read: %w", err)
	}
	entries := map[string]*entry{}
	for _, s := range body.Services {
		state := &jv1.ContinuityState{}
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(s.State, state); err != nil {
			return nil, fmt.Errorf("a state can't be read: %w", err)
		}
		if state.GetService() == "" {
			return nil, errors.New("a state has no service")
		}
		entries[state.GetService()] = &entry{state: state, asOf: earlier(s.AsOf, now)}
	}
	return entries, nil
}

// readCache returns what the directory holds: nothing when there is no file.
func readCache(dir string, now time.Time) (map[string]*entry, error) {
	path := filepath.Join(dir, cacheFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && (!info.Mode().IsRegular() || info.Size() > cacheAtMost) {
		return nil, fmt.Errorf("%w: %s is no regular file of at most %d bytes", ErrCache, path, cacheAtMost)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCache, err)
	}
	entries, err := decodeCache(data, now)
	if err != nil {
		return nil, fmt.Errorf("%w: %s is not used: %w", ErrCache, path, err)
	}
	return entries, nil
}

// setAside keeps a cache that was refused from being overwritten, for whoever looks into it.
func setAside(dir string) error {
	path := filepath.Join(dir, cacheFile)
	if err := os.Rename(path, path+".refused"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// writeCache replaces the file, so that a reader, or a power cut at any moment, finds the old one or the new one.
func writeCache(dir string, data []byte) error {
	if err := replaceFile(dir, filepath.Join(dir, cacheFile), data); err != nil {
		return fmt.Errorf("%w: writing it: %w", ErrCache, err)
	}
	return nil
}

func replaceFile(dir, path string, data []byte) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, cacheFile+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a rename durable. Systems that can't sync a directory make it durable by themselves.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !strings.Contains(err.Error(), "invalid") {
		return err
	}
	return nil
}

// sweepTemporary removes what a crash left behind.
func sweepTemporary(dir string) {
	left, err := filepath.Glob(filepath.Join(dir, cacheFile+".*.tmp"))
	if err != nil {
		return
	}
	for _, path := range left {
		_ = os.Remove(path)
	}
}
