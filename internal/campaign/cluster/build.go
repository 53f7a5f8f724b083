package cluster

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// Binaries are the programs of an installation.
type Binaries struct {
	// Daemon is jurymastd, Member is etcd.
	Daemon, Member string
}

// Build builds both programs from the sources of this module into dir.
func Build(ctx context.Context, dir string) (Binaries, error) {
	const module = "github.com/jurymast/jurymast/"
	cmd := exec.CommandContext(ctx, "go", "build", "-o", dir, module+"cmd/jurymastd", module+"internal/campaign/etcdmember")
	if out, err := cmd.CombinedOutput(); err != nil {
		return Binaries{}, fmt.Errorf("build the programs of the campaign: %w\n%s", err, out)
	}
	return Binaries{Daemon: filepath.Join(dir, "jurymastd"), Member: filepath.Join(dir, "etcdmember")}, nil
}
