package etcdnode

import (
	"strings"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/jurymast/jurymast/server/telemetry"
)

// expected are the entries that every start of a node as we configure it brings. They say nothing an operator could
// act on.
var expected = map[string]struct{}{
	// One private socket serves both; etcd advises two ports for servers with thousands of clients.
	"Running http and grpc server on single port. This is not recommended for production.": {},
	// etcd's own users are not in use.
	"simple token is not cryptographically signed": {},
}

// expectedWhenNew are the entries of a new data directory: the version of the storage is asked for before the first
// commit to disk has written it, and again four seconds later.
var expectedWhenNew = map[string]struct{}{
	"Failed to detect schema version":  {},
	"failed to update storage version": {},
}

// expectedOfElection is what raft says when it is told to stand for election before it has read its own membership.
// The member is told again two milliseconds later.
const expectedOfElection = "cannot campaign at term"

// newZapLogger returns the logger etcd writes to: from level warn upwards into hclog, with halt in the place of the
// exit that follows a fatal entry.
func newZapLogger(log hclog.Logger, halt *halt, phase *phase) *zap.Logger {
	core := telemetry.NewZapCore(telemetry.ZapOptions{
		Logger: log,
		Level:  zapcore.WarnLevel,
		Relevel: func(entry zapcore.Entry) zapcore.Level {
			return relevel(entry, phase.fresh, phase.stopping.Load())
		},
	})
	return zap.New(core, zap.WithFatalHook(halt), zap.WithPanicHook(halt))
}

// phase is where in its life a node is, as far as its log needs to know.
type phase struct {
	// fresh says that the data directory was new when the node started.
	fresh bool
	// stopping is set when Close begins.
	stopping atomic.Bool
}

// relevel lowers what is expected to debug: the entries above, and everything short of a panic that etcd complains
// about while it stops.
func relevel(entry zapcore.Entry, fresh, stopping bool) zapcore.Level {
	if entry.Level >= zapcore.DPanicLevel {
		return entry.Level
	}
	_, always := expected[entry.Message]
	_, whenNew := expectedWhenNew[entry.Message]
	if always || stopping || fresh && whenNew || strings.Contains(entry.Message, expectedOfElection) {
		return zapcore.DebugLevel
	}
	return entry.Level
}
