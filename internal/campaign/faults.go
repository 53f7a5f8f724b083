package campaign

import (
	"fmt"
	"strings"
)

// Fault is a named kind of fault.
type Fault struct {
	// Name of the kind, as tests raise it.
	Name string
	// Raised says how: what is really done, and what is only imitated.
	Raised string
	// Holds is what must hold meanwhile and afterwards.
	Holds string
	// Test that raises it, with its package.
	Test string
}

const (
	onProcesses = "internal/campaign.TestKindsOfFaultsOnProcesses"
	onSinks     = "internal/campaign.TestKindsOfFaultsOfReceivers"
	onClocks    = "internal/campaign.TestKindsOfFaultsOfClocks"
	onDisk      = "internal/campaign.TestATornTailOfTheLog"
)

// Faults is the table of all kinds.
func Faults() []Fault {
	var all []Fault
	for _, group := range [][]Fault{replicaFaults(), linkFaults(), etcdFaults(), storeFaults(), clockFaults(), receiverFaults()} {
		all = append(all, group...)
	}
	return all
}

func replicaFaults() []Fault {
	const taken = "runs it owned are taken over; nothing is lost or done twice"
	const none = "the others don't notice"
	return []Fault{
		{"replica-kill-owner", "SIGKILL to a replica that owns runs", taken, onProcesses},
		{"replica-abort-owner", "SIGABRT, as its runtime ends it when memory runs out; no memory is really exhausted", taken, onProcesses},
		{"replica-stop-owner", "SIGTERM", taken, onProcesses},
		{"replica-pause-owner", "SIGSTOP for longer than its session lives, then SIGCONT", taken + "; what it does when it goes on is refused", onProcesses},
		{"replica-kill-bystander", "SIGKILL to a replica that owns no run", none, onProcesses},
		{"replica-abort-bystander", "SIGABRT to a replica that owns no run", none, onProcesses},
		{"replica-stop-bystander", "SIGTERM to a replica that owns no run", none, onProcesses},
		{"replica-pause-bystander", "SIGSTOP and SIGCONT to a replica that owns no run", none, onProcesses},
	}
}

func linkFaults() []Fault {
	var all []Fault
	for _, link := range []struct{ name, where, holds string }{
		{"client", "between one replica and its clients", "requests are repeated elsewhere and start one run each"},
		{"store", "between one replica and all members of etcd", "the others go on; cut off, it answers from what it knows, says that it is stale, and changes nothing"},
		{"peer", "between etcd's leader and the other members, in both directions of dialling", "nothing acknowledged is lost; a leader is found, after it at the latest where a little passes"},
	} {
		for _, f := range []struct{ name, raised string }{
			{"drop", "connections are ended, new ones closed at once"},
			{"delay", "60 to 120 ms for every piece of data"},
			{"blackhole", "connections stay, nothing passes"},
			{"deaf", "nothing passes from the side that dialled"},
			{"mute", "nothing passes to the side that dialled"},
			{"reset", "connections are ended with RST, new ones too"},
			{"trickle", "2 000 bytes a second"},
			{"truncate", "every connection is ended after 4 000 bytes in one direction"},
		} {
			all = append(all, Fault{link.name + "-" + f.name, f.raised + ", " + link.where, link.holds, onProcesses})
		}
	}
	return all
}

func etcdFaults() []Fault {
	const on = "runs go on while it lasts"
	return []Fault{
		{"etcd-leader-kill", "SIGKILL to the leader", on, onProcesses},
		{"etcd-follower-kill", "SIGKILL to a follower", on, onProcesses},
		{"etcd-leader-pause", "SIGSTOP to the leader", on, onProcesses},
		{"etcd-leader-stop", "SIGTERM to the leader, which hands over", on, onProcesses},
		{"etcd-quorum-loss", "SIGKILL to two of three members", "nothing is accepted; replicas answer from what they know and say that it is stale", onProcesses},
		{"etcd-leader-move", "the leader hands over, three times", on, onProcesses},
		{"etcd-member-replace", "a member is removed with its data and a new one added", on, onProcesses},
		{"etcd-slow-disk", "the leader stands still for 300 ms of every 400 ms: the effect of a slow sync, not a slow disk", on, onProcesses},
		{"etcd-compaction", "the whole history is dropped every 100 ms, under every watch", on, onProcesses},
		{"etcd-defrag", "every member's database is rewritten", on, onProcesses},
		{"etcd-nospace", "the database is filled to its quota until etcd raises the alarm", "changes are refused with RESOURCE_EXHAUSTED; it goes on when there is room", onProcesses},
		{"disk-full", "every write to a file fails (RLIMIT_FSIZE)", "the embedded member ends, the process does not; what was acknowledged is there afterwards", "server/etcdnode.TestFullDiskEndsTheNodeNotTheProcess"},
		{"disk-nearly-full", "the free space that is measured is below 256 MiB", "writes are refused before etcd would die of them", "server.TestWritesAreRefusedWithoutSpace"},
		{"disk-damage", "16 KiB of the log or of the database are overwritten", "the member refuses to start", "server/etcdnode.TestDamagedDataIsRefused"},
		{"disk-torn-tail", "the log of a killed member ends in the middle of a record that was never acknowledged", "it starts, and has everything that was acknowledged", onDisk},
		{"store-restored", "the store is replaced by an older copy of itself under a running replica", "the replica notices and lists again", "server/store.TestStoreThatWentBackIsListedAgain"},
	}
}

func storeFaults() []Fault {
	return []Fault{
		{"txn-unknown-executed", "a transaction is committed, its answer is lost", "it happens once and is known to have happened", "server/store.TestCommitFindsTheOutcome"},
		{"txn-timeout-not-executed", "a transaction is lost, the caller times out", "it is submitted again and happens once", "server/store.TestCommitFindsTheOutcome"},
		{"txn-delayed", "a transaction is committed after its caller was told that its outcome is unknown", "it happens once", "server/store.TestCommitFindsTheOutcome"},
		{"txn-too-large", "a transaction beyond the limits of etcd", "it is refused before it is sent", "server/store.TestCommitRefusesMalformedTransactions"},
		{"txn-fenced", "a dead replica's transaction arrives after its run was taken over, at every boundary", "it is refused", "server/engine.TestEveryCrashBoundary"},
		{"txn-unavailable", "transactions are refused, at every boundary", "the run comes to the same end", "server/engine.TestEveryCrashBoundary"},
		{"txn-no-space-executed", "etcd says that there is no space and has written", "it is known to have happened", "server/store.TestCommitThatFindsNoSpace"},
		{"lease-lost", "a replica's lease is gone while it works", "its runs are taken over, by itself or others", "server/engine.TestStorm"},
		{"watch-broken", "a watch ends", "nothing is missed", "server/store.TestMirrorFollowsTheStore"},
		{"watch-silent", "a watch stays and says nothing", "it is restarted", "server/store.TestSilentWatchIsRestarted"},
		{"watch-loses-events", "a watch leaves changes out", "the comparison with the store finds it", "server/store.TestSweepFindsWhatTheWatchLost"},
	}
}

func clockFaults() []Fault {
	const fake = ": the clock that the server is given, in its own process"
	const passed = "each step is done once; runs end once the clock has passed what was written"
	return []Fault{
		{"clock-forward", "one hour forward, for good" + fake, passed, onClocks},
		{"clock-back", "one hour back for a while" + fake, passed, onClocks},
		{"clock-step", "15 s forward and 15 s back by turns, every 300 ms" + fake, passed, onClocks},
		{"clock-strobe", "30 min forward and 30 min back by turns, every 10 ms" + fake, passed, onClocks},
	}
}

func receiverFaults() []Fault {
	const bounded = "a call that may be repeated is, with its key; one that may not is made once and waits for a human or fails"
	var all []Fault
	for _, f := range []struct{ name, raised string }{
		{"429", "answers 429"},
		{"5xx", "answers 500"},
		{"hang", "never answers"},
		{"slow-loris", "answers a byte every 100 ms, without end"},
		{"flood", "answers with a body without end"},
		{"truncated", "ends an answer before its promised length"},
		{"garbage", "answers 200 with what is no JSON where JSON is expected"},
		{"redirect", "redirects to another host"},
		{"tls", "shows a certificate that nobody signed"},
		{"refused", "does not listen"},
		{"reset", "ends a used connection with RST after the request has arrived"},
	} {
		holds := bounded
		switch f.name {
		case "flood":
			holds = "no more than 64 KiB are read"
		case "redirect":
			holds = "it is not followed: key and credential stay where they were sent"
		}
		all = append(all, Fault{"receiver-" + f.name, "the receiver of a step " + f.raised, holds, onSinks})
	}
	return all
}

// Table writes the faults as Markdown.
func Table(faults []Fault) string {
	var b strings.Builder
	b.WriteString("| kind | how it is raised | what must hold | raised by |\n|---|---|---|---|\n")
	for _, f := range faults {
		fmt.Fprintf(&b, "| `%s` | %s | %s | `%s` |\n", f.Name, f.Raised, f.Holds, f.Test)
	}
	return b.String()
}
