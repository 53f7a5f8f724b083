package api

import (
	"context"
	"errors"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

const (
	// heartbeat is how often a stream says that it is still there, by a bookmark.
	heartbeat = 15 * time.Second
	// catchUp is how long a resumed stream waits for what it missed before it says that it missed nothing.
	catchUp = 20 * time.Millisecond
)

// change is one message of a stream: a value that is new, or gone.
type change[T any] struct {
	value T
	gone  bool
}

// watch is what is particular about one stream.
type watch[T any] struct {
	// prefixes of the keys it rests on.
	prefixes []string
	// from is the caller's cursor.
	from store.Cursor
	// translate tells what an update means to the caller. With a reset it gives everything.
	translate func(store.Update) []change[T]
	// refresh tells what reports of epochs in force changed, which no prefix covers; nil: none are told of.
	refresh func() []change[T]
	// send sends a message; the value counts with PUT and DELETE only.
	send func(event jv1.WatchEvent, cursor string, value T) error
}

// follow carries a watch out until its caller goes away or the server stops.
//
// A message carries the cursor up to which everything was sent, so that of an update only the last one carries its
// cursor: a caller that resumes in the middle sees some again, and misses none. While a snapshot is sent that is the
// empty cursor, which begins anew.
func follow[T any](ctx context.Context, s *signals, st *store.Store, w watch[T]) error {
	sub := st.Subscribe(w.prefixes, w.from)
	defer sub.Close()
	f := &following[T]{watch: w, cursor: formatCursor(w.from)}
	beat := s.now().Add(catchUp)
	if w.from == (store.Cursor{}) {
		beat = s.now().Add(heartbeat)
	}
	for {
		update, err := s.next(ctx, sub, beat.Sub(s.now()), w.refresh != nil)
		switch {
		case err == nil:
			if err := f.update(update); err != nil {
				return err
			}
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, store.ErrClosed), s.stopped():
			return unavailable(reasonStopping, "the server is stopping; resume from the last cursor at another one, or here soon", nil)
		case !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
			return err
		}
		if err := f.beat(); err != nil {
			return err
		}
		beat = s.now().Add(heartbeat)
	}
}

// following is the state of a stream.
type following[T any] struct {
	watch[T]
	cursor string
	begun  bool // something was sent, or the caller came with a cursor
}

func (f *following[T]) update(u store.Update) error {
	var none T
	if u.Reset {
		if f.begun || f.cursor != "" {
			if err := f.send(jv1.WatchEvent_WATCH_EVENT_RESET, "", none); err != nil {
				return err
			}
		}
		f.cursor = ""
	}
	f.begun = true
	reached := formatCursor(u.Cursor)
	changes := f.translate(u)
	for i, c := range changes {
		cursor := f.cursor
		if i == len(changes)-1 && !u.Reset {
			cursor = reached
		}
		if err := f.sendChange(cursor, c); err != nil {
			return err
		}
	}
	f.cursor = reached
	if u.Reset {
		return f.send(jv1.WatchEvent_WATCH_EVENT_BOOKMARK, reached, none)
	}
	return nil
}

// beat sends what changed by itself, and a bookmark. Before the first snapshot there is nothing to mark.
func (f *following[T]) beat() error {
	var none T
	if f.cursor != "" && f.refresh != nil {
		for _, c := range f.refresh() {
			if err := f.sendChange(f.cursor, c); err != nil {
				return err
			}
		}
	}
	return f.send(jv1.WatchEvent_WATCH_EVENT_BOOKMARK, f.cursor, none)
}

func (f *following[T]) sendChange(cursor string, c change[T]) error {
	event := jv1.WatchEvent_WATCH_EVENT_PUT
	if c.gone {
		event = jv1.WatchEvent_WATCH_EVENT_DELETE
	}
	return f.send(event, cursor, c.value)
}
