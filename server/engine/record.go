package engine

import (
	"time"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

// putRun adds a run's record and events to a transaction, with a fresh commit id by which an unknown outcome can be
// recognised (protocol P1).
func putRun(txn *store.Txn, run *jv1.Run, events []*jv1.RunEvent, now time.Time) {
	id := store.NewID("c", now)
	run.CommitId = id
	key := store.RunKey(run.GetName())
	txn.Then = append(
		txn.Then, store.Put(key, run),
		store.Put(store.RunEventsKey(run.GetName(), events[0].GetSequence()), &recordv1.RunEvents{Events: events}),
	)
	txn.Witness = key
	txn.Mine = func(value []byte) bool {
		var stored jv1.Run
		return value != nil && store.Open(value, &stored) == nil && stored.GetCommitId() == id
	}
}

// treeOf lays out what a run was created from: the pinned revisions of its runbook and of those that it runs. It is nil
// when a revision is not there, or not of a shape this version knows.
func treeOf(v store.View, run *jv1.Run) *runbooks.Tree {
	revision := func(name string, version int64) *jv1.Runbook {
		rb := store.Get[*jv1.Runbook](v, store.RunbookRevisionKey(name, version)).Msg
		if rb == nil || foreign(rb) != "" {
			return nil
		}
		return rb
	}
	plan := revision(run.GetRunbook(), run.GetRunbookVersion())
	if plan == nil {
		return nil
	}
	tree, err := runbooks.Expand(plan, func(name string) *jv1.Runbook {
		version, pinned := run.GetIncluded()[name]
		if !pinned {
			return nil
		}
		return revision(name, version)
	}, run.GetService())
	if err != nil || len(tree.Nodes) != len(run.GetSteps()) {
		return nil
	}
	return tree
}

// present lays a runbook out with those that it runs as they are stored now, as far as that goes.
func present(v store.View, plan *jv1.Runbook, service string) *runbooks.Tree {
	tree, _ := runbooks.Expand(plan, func(name string) *jv1.Runbook {
		return store.Get[*jv1.Runbook](v, store.RunbookKey(name)).Msg
	}, service)
	return tree
}

// ownerOf returns the owner record of a session.
func ownerOf(s *store.Session) *jv1.Owner { return &jv1.Owner{Session: s.Key, Token: s.Token} }

// ownerLives tells whether the session that owns a run is still there: same key, same life of the key.
func ownerLives(v store.View, owner *jv1.Owner) bool {
	rec := store.Get[*recordv1.Session](v, owner.GetSession())
	return rec.Msg != nil && rec.Create == owner.GetToken()
}

// owns tells whether the session is the run's owner.
func owns(s *store.Session, owner *jv1.Owner) bool {
	return owner.GetSession() == s.Key && owner.GetToken() == s.Token
}

// isLive tells whether a run holds the lock of its service: dry runs touch nothing.
func isLive(run *jv1.Run) bool { return run.GetMode() == jv1.RunMode_RUN_MODE_LIVE }

// release frees the lock of the service if the run holds it.
func release(w *continuity.Workspace, run *jv1.Run) {
	if !isLive(run) {
		return
	}
	key := store.LiveRunKey(run.GetService())
	if continuity.Read[*recordv1.LiveRun](w, key).Msg.GetRun() == run.GetName() {
		w.Add(store.Delete(key))
	}
}
