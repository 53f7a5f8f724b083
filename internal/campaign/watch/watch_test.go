package watch

import (
	"strings"
	"testing"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// A watcher must be able to complain: each of these streams breaks one promise, or none.
func TestPlantedStreams(t *testing.T) {
	put := func(name, cursor string, revision int64) message {
		return message{event: jv1.WatchEvent_WATCH_EVENT_PUT, cursor: cursor, name: name, revision: revision, order: revision}
	}
	mark := func(cursor string) message {
		return message{event: jv1.WatchEvent_WATCH_EVENT_BOOKMARK, cursor: cursor}
	}
	reset := message{event: jv1.WatchEvent_WATCH_EVENT_RESET}
	gone := func(name, cursor string) message {
		return message{event: jv1.WatchEvent_WATCH_EVENT_DELETE, cursor: cursor, name: name}
	}
	for _, test := range []struct {
		name   string
		stream []message
		want   string
	}{
		{"snapshot and changes", []message{put("a", "", 3), put("b", "", 5), mark("e:5"), put("a", "e:6", 6), mark("e:9")}, ""},
		{"two of one revision", []message{mark("e:5"), put("a", "e:5", 6), put("b", "e:6", 6)}, ""},
		{"seen again after a resume in the middle", []message{mark("e:5"), put("a", "e:5", 6), put("a", "e:5", 6), put("b", "e:6", 6)}, ""},
		{"a value goes back", []message{put("a", "e:6", 6), put("a", "e:7", 5)}, "a goes back"},
		{"the cursor goes back", []message{mark("e:6"), mark("e:5")}, "cursor goes back"},
		{"a cursor that covered too much", []message{mark("e:6"), put("a", "e:7", 5)}, "all up to it was sent"},
		{"a reset", []message{put("a", "e:6", 6), reset, put("a", "", 6), mark("e:4")}, ""},
		{"a value goes back with a reset", []message{put("a", "e:6", 6), reset, put("a", "", 4)}, "a goes back"},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := &watcher{known: map[string]int64{}}
			for _, m := range test.stream {
				x.take(m)
			}
			got := strings.Join(x.report.Findings, "; ")
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("found %q, want %q", got, test.want)
			}
		})
	}
	x := &watcher{known: map[string]int64{}}
	for _, m := range []message{put("a", "", 1), put("b", "", 2), mark("e:2"), gone("a", "e:3"), reset, put("c", "", 4), mark("e:4")} {
		x.take(m)
	}
	if len(x.known) != 1 || x.known["c"] != 4 || x.report.Resets != 1 {
		t.Errorf("after a deletion and a reset it knows %v", x.known)
	}
}
