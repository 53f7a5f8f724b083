package etcdnode

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

const (
	// socketName is the client socket of the node.
	socketName = "etcd.sock"
	// maxSocketPath is the longest path that every system can bind: sun_path holds 104 bytes on the BSDs and macOS,
	// 108 on Linux, with the terminating zero.
	maxSocketPath = 103
)

// clientSocket returns where the node listens: in its data directory, or, when that path is too long for a socket, in
// a private directory below the system's temporary directory. That directory has the same name each time, so that
// killed nodes don't leave one behind per start.
func clientSocket(dataDir, tempDir string) (string, error) {
	if path := filepath.Join(dataDir, socketName); len(path) <= maxSocketPath {
		return path, nil
	}
	sum := sha256.Sum256([]byte(dataDir))
	name := "jurymast-" + strconv.Itoa(os.Getuid()) + "-" + hex.EncodeToString(sum[:8])
	for _, parent := range []string{tempDir, "/tmp"} {
		dir := filepath.Join(parent, name)
		path := filepath.Join(dir, socketName)
		if len(path) > maxSocketPath {
			continue
		}
		if err := privateDir(dir); err != nil {
			return "", err
		}
		return path, nil
	}
	return "", fmt.Errorf("%w: no path of at most %d bytes for the client socket, neither in %s nor in %s",
		ErrOptions, maxSocketPath, dataDir, tempDir)
}

// privateDir makes dir, or accepts it when it is already there, is no link, is ours, and nobody else may enter it: the
// temporary directory is shared, and whoever owns the socket's directory owns the store.
func privateDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err == nil {
		return nil
	} else if !os.IsExist(err) {
		return fmt.Errorf("creating a directory for the client socket: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("looking at the directory for the client socket: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm() != 0o700 || !ok || int(stat.Uid) != os.Getuid() {
		return fmt.Errorf("the directory for the client socket, %s, is not a private directory of this user; remove it", dir)
	}
	return nil
}

// removeSocketDir removes the private directory of a socket that did not fit into the data directory. The socket
// itself is removed by its listener.
func removeSocketDir(socket, dataDir string) {
	if dir := filepath.Dir(socket); socket != "" && dir != dataDir {
		_ = os.Remove(dir) // not empty or gone: either way nothing is lost, the next start takes it as it is
	}
}
