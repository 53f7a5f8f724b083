package api

import (
	"context"
	"strings"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/audit"
	"github.com/jurymast/jurymast/server/request"
	"github.com/jurymast/jurymast/server/store"
)

// once keeps a call with a request id from being carried out twice. What is remembered of it are the actions, one letter
// for each resource: the resources themselves stand in the request, whose body is the same.
type once struct{ *request.Guard }

var actionLetters = map[jv1.ApplyAction]byte{
	jv1.ApplyAction_APPLY_ACTION_CREATED:   'c',
	jv1.ApplyAction_APPLY_ACTION_UPDATED:   'u',
	jv1.ApplyAction_APPLY_ACTION_UNCHANGED: '-',
}

// once looks the call up. A call that stores nothing is not remembered.
func (c *common) once(ctx context.Context, a application) (once, error) {
	if a.validateOnly {
		return once{}, nil
	}
	g, err := request.Begin(ctx, c.store, audit.From(ctx).Principal, a.requestID, a.request, c.now())
	return once{g}, err
}

// prior is what the call came to the first time; nil when this is the first.
func (o once) prior(batch []*declared) *applied {
	text, again := o.Result()
	if !again {
		return nil
	}
	out := &applied{revision: o.Revision()}
	if text != "" && strings.Trim(text, "-") == "" {
		out.revision = 0 // nothing changed
	}
	for i, d := range batch {
		result := &jv1.ApplyResult{Kind: d.kind.name, Name: d.name}
		for action, letter := range actionLetters {
			if i < len(text) && text[i] == letter {
				result.Action = action
			}
		}
		out.results = append(out.results, result)
	}
	return out
}

// guard adds to the transaction that this is the first time, and what it comes to.
func (o once) guard(txn *store.Txn, results []*jv1.ApplyResult) {
	var text strings.Builder
	for _, r := range results {
		text.WriteByte(actionLetters[r.GetAction()])
	}
	o.Guard.Guard(txn, text.String())
}
