package server

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// replicaFile holds the replica's name in the data directory, so that it is the same after a restart: only then may a
// replica end its own earlier sessions.
const replicaFile = "replica"

// replicaName returns the name that is asked for, else the one in the data directory, else a new one, which it stores
// there. The caller holds the directory's lock.
func replicaName(dataDir, asked, host string) (string, error) {
	path := filepath.Join(dataDir, replicaFile)
	known, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read the replica's name: %w", err)
	}
	name := strings.TrimSpace(string(known))
	if asked == "" && dnsLabel.MatchString(name) {
		return name, nil
	}
	if asked == "" {
		asked = label(host) + "-" + strings.ToLower(rand.Text()[:5])
	}
	if name == asked {
		return name, nil
	}
	if err := writeFile(path, asked+"\n"); err != nil {
		return "", fmt.Errorf("store the replica's name: %w", err)
	}
	return asked, nil
}

// label makes the beginning of a DNS label of a host's name.
func label(host string) string {
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, host)
	if name = strings.Trim(name[:min(len(name), 50)], "-"); name == "" {
		return "replica"
	}
	return name
}

// writeFile replaces a file as a whole, on the disk too.
func writeFile(path, text string) error {
	next := path + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(next, path)
}
