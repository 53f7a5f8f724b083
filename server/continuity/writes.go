package continuity

import (
	"google.golang.org/protobuf/proto"

	"github.com/jurymast/jurymast/server/store"
)

// Latest is [Read] with the workspace's own writes on top: of several steps that are folded into one transaction, each
// goes on from what the last one wrote. The message is nil when there is none; it must not be changed.
func Latest[M proto.Message](w *Workspace, key string) M {
	if written, ok := w.written[key]; ok {
		m, _ := written.(M)
		return m
	}
	return Read[M](w, key).Msg
}

// Write puts a record into the transaction. It takes the place of what the workspace wrote to the key before, because a
// key may be written once in a transaction. A nil message removes the record.
func (w *Workspace) Write(key string, m proto.Message) {
	if w.written == nil {
		w.written = map[string]proto.Message{}
	}
	w.written[key] = m
	if m == nil {
		w.Replace(store.Delete(key))
		return
	}
	w.Replace(store.Put(key, m))
}

// ReadNewest remembers to compare that nothing under prefix is put after the view was taken: for decisions on what is
// not there. A removal is not noticed.
func (w *Workspace) ReadNewest(prefix string) {
	if w.newest == nil {
		w.newest = map[string]bool{}
	}
	w.newest[prefix] = true
}
