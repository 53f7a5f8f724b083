package etcdnode

import (
	"fmt"
	"syscall"
)

const (
	// MinFreeDisk is the free disk space below which nothing more may be written: 256 MiB, room for etcd's next log
	// files (64 MB each) and for the way out. etcd itself has no such guard and dies when a write fails.
	MinFreeDisk uint64 = 256 << 20
	// TightPercent is the use of the quota from which on an operator should be told.
	TightPercent = 60
	// BulkPercent is the use of the quota from which on only the state of Runs may grow; the rest is its reserve.
	BulkPercent = 75
)

// Space is what decides whether a store may still be written to.
type Space struct {
	// DiskFree is what an unprivileged process may still write to the file system of the data directory, in bytes.
	DiskFree uint64
	// InUse is the size of the live pages of the database, in bytes. The file may be larger: its free pages are used
	// again before it grows.
	InUse int64
	// Quota is the size at which etcd refuses to grow, in bytes.
	Quota int64
	// NoSpace says that etcd has raised its NOSPACE alarm: it refuses everything but deletions until Reclaim.
	NoSpace bool
	// Corrupt says that a member has raised the CORRUPT alarm.
	Corrupt bool
}

// SpaceVerdict is a named decision about writing.
type SpaceVerdict string

const (
	// SpaceOK allows every write.
	SpaceOK SpaceVerdict = "ok"
	// SpaceTight allows every write; an operator should be told.
	SpaceTight SpaceVerdict = "quota_tight"
	// SpaceReserved allows only the state of Runs: no new runbooks, no bulk.
	SpaceReserved SpaceVerdict = "quota_reserved"
	// SpaceDiskLow refuses every write because the disk is nearly full.
	SpaceDiskLow SpaceVerdict = "disk_low"
	// SpaceExhausted refuses every write because etcd does.
	SpaceExhausted SpaceVerdict = "quota_exhausted"
	// SpaceCorrupt refuses every write because the members disagree about the data.
	SpaceCorrupt SpaceVerdict = "corrupt"
)

// Judge returns the gravest verdict that holds. It is a pure function.
func (s Space) Judge() SpaceVerdict {
	// In parts of a hundred, so that a quota of any size can't overflow.
	percent := int64(0)
	if part := s.Quota / 100; part > 0 {
		percent = s.InUse / part
	}
	switch {
	case s.Corrupt:
		return SpaceCorrupt
	case s.NoSpace:
		return SpaceExhausted
	case s.DiskFree < MinFreeDisk:
		return SpaceDiskLow
	case percent >= BulkPercent:
		return SpaceReserved
	case percent >= TightPercent:
		return SpaceTight
	default:
		return SpaceOK
	}
}

// AllowsState reports whether the state of Runs may be written.
func (v SpaceVerdict) AllowsState() bool {
	return v == SpaceOK || v == SpaceTight || v == SpaceReserved
}

// AllowsBulk reports whether anything else, such as a new runbook, may be written.
func (v SpaceVerdict) AllowsBulk() bool { return v == SpaceOK || v == SpaceTight }

// FreeDisk measures how many bytes an unprivileged process may still write to the file system of dir.
func FreeDisk(dir string) (uint64, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return 0, fmt.Errorf("measuring the free space of %s: %w", dir, err)
	}
	return stat.Bavail * uint64(stat.Bsize), nil
}
