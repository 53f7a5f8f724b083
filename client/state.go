package client

import (
	"time"

	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// State is what is true for one service, as far as the client knows.
type State struct {
	// ContinuityState is the state as the server gave it. It is shared by all callers and must not be changed.
	*jv1.ContinuityState
	// Age is how long ago this was last known to be true. It is small, though rarely zero, while Live.
	Age time.Duration
	// Live tells that a server vouches for the state now and that the store stands behind it.
	Live bool
	// KeptOut is why the server's newest word was kept out, and this state kept: it is older, as after a restore that no
	// human has confirmed yet. Empty: it was not.
	KeptOut Verdict
}

// entry is what is known of one service. It is replaced, never changed.
type entry struct {
	state *jv1.ContinuityState
	// confirmed: the stream vouches for it, so it is as old as the stream's last word.
	confirmed bool
	// asOf is when it was last known to be true, where the stream doesn't say.
	asOf time.Time
	// refused is why the server's newest word was kept out; empty when it was not.
	refused Verdict
	// offered is what was kept out.
	offered *jv1.ContinuityState
}

// link is the client's tie to a server. It is replaced, never changed.
type link struct {
	// address of the server; empty while there is none.
	address string
	// synced: all that the server knows has come.
	synced bool
	// store: the server hears its store.
	store bool
	// heard is when the store was last known to stand behind the stream; zero: never.
	heard time.Time
	// err is what ended the last attempt to follow a server; nil once one is followed.
	err error
}

// State returns what is known of a service: from memory, without waiting, in well under a microsecond. It is not ok
// when nothing was ever heard of the service or when it was deleted. Safe for concurrent use, before Start and after
// Close too.
func (c *Client) State(service string) (State, bool) {
	e, ok := c.entry(service)
	if !ok {
		return State{}, false
	}
	return c.present(e, c.link.Load()), true
}

// States returns all that is known, by service.
func (c *Client) States() map[string]State {
	out := map[string]State{}
	l := c.link.Load()
	for service, e := range c.known() {
		out[service] = c.present(e, l)
	}
	return out
}

func (c *Client) entry(service string) (*entry, bool) {
	v, ok := c.entries.Load(service)
	if !ok {
		return nil, false
	}
	e, ok := v.(*entry)
	return e, ok
}

// known returns a copy of what is known.
func (c *Client) known() map[string]*entry {
	out := map[string]*entry{}
	c.entries.Range(func(k, v any) bool {
		service, okKey := k.(string)
		if e, ok := v.(*entry); ok && okKey {
			out[service] = e
		}
		return true
	})
	return out
}

func (c *Client) present(e *entry, l *link) State {
	s := State{ContinuityState: e.state, KeptOut: e.refused, Age: max(c.o.Now().Sub(e.trueAt(l)), 0)}
	s.Live = e.confirmed && l.synced && l.store && s.Age < c.o.SilenceTimeout
	return s
}

// trueAt is when the entry was last known to be true.
func (e *entry) trueAt(l *link) time.Time {
	if e.confirmed && !l.heard.IsZero() {
		return l.heard
	}
	return e.asOf
}

// frozen returns the entry as nobody's word any more, as old as it is now.
func (e *entry) frozen(l *link) *entry {
	f := *e
	f.asOf, f.confirmed = e.trueAt(l), false
	return &f
}

// sameToApplication tells whether two states differ in nothing that an application acts on.
func sameToApplication(a, b *jv1.ContinuityState) bool {
	return proto.Equal(bare(a), bare(b))
}

func bare(s *jv1.ContinuityState) *jv1.ContinuityState {
	out := proto.CloneOf(s)
	out.InForce, out.Revision = nil, 0
	return out
}
