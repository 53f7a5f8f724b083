package telemetry

// Keys of log entries. They are constants so that one notion has one key in every package and a search in the logs
// finds all of its lines; the words are those of the API. Values are plain: identifiers and names as strings,
// durations as time.Duration, times in RFC 3339 UTC.
const (
	// KeyError is the error that made the entry worth writing.
	KeyError = "error"
	// KeyReason is the named reason of a decision.
	KeyReason = "reason"
	// KeyComponent is the part of a library that spoke, e.g. "raft" inside etcd.
	KeyComponent = "component"
	// KeyStack is a stack trace.
	KeyStack = "stack"

	// KeyService is the name of a Service.
	KeyService = "service"
	// KeyProvider is the name of a Provider.
	KeyProvider = "provider"
	// KeyDetector is the name of a Detector.
	KeyDetector = "detector"
	// KeyChannel is the name of a notification channel.
	KeyChannel = "channel"
	// KeyHealth is a judged health state.
	KeyHealth = "health"
	// KeyRunbook is the name of a Runbook.
	KeyRunbook = "runbook"
	// KeyTrigger is the id of a Trigger.
	KeyTrigger = "trigger"
	// KeyRun is the id of a Run.
	KeyRun = "run"
	// KeyStep is the id of a Step inside its Run.
	KeyStep = "step"
	// KeyAttempt is the id of an Attempt.
	KeyAttempt = "attempt"
	// KeyIncident is the id of an Incident.
	KeyIncident = "incident"

	// KeyEpoch is the epoch of a route.
	KeyEpoch = "epoch"
	// KeyRevision is a revision of the store.
	KeyRevision = "revision"
	// KeyReplica is the name of a replica of the server.
	KeyReplica = "replica"
	// KeyMember is the name of an etcd member.
	KeyMember = "member"

	// KeyPrincipal is who asked.
	KeyPrincipal = "principal"
	// KeyRequest is the client's request id.
	KeyRequest = "request_id"
	// KeyMethod is the RPC or HTTP method.
	KeyMethod = "method"
	// KeyCode is the outcome of a call: a gRPC code by name or an HTTP status.
	KeyCode = "code"
	// KeyURL is an address with its secrets removed, see RedactURL.
	KeyURL = "url"
	// KeyAddr is the address of a listener or a peer.
	KeyAddr = "addr"

	// KeyDir is a directory.
	KeyDir = "dir"
	// KeyPath is a file.
	KeyPath = "path"
	// KeyPID is a process id.
	KeyPID = "pid"
	// KeyTook is how long something took.
	KeyTook = "took"
	// KeyDelay is how long something will wait, e.g. before it is retried.
	KeyDelay = "delay"
	// KeyCount is a number of things.
	KeyCount = "count"
	// KeyBytes is a size in bytes.
	KeyBytes = "bytes"
)
