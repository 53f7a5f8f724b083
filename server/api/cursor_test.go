package api

import (
	"strings"
	"testing"

	"github.com/jurymast/jurymast/server/store"
)

func TestParseCursor(t *testing.T) {
	for text, want := range map[string]store.Cursor{
		"":                              {},
		"001763000000000-a1b2c3d4:17":   {RestoreEpoch: "001763000000000-a1b2c3d4", Revision: 17},
		":1":                            {Revision: 1},
		"e:9223372036854775807":         {RestoreEpoch: "e", Revision: 1<<63 - 1},
		strings.Repeat("e", 64) + ":10": {RestoreEpoch: strings.Repeat("e", 64), Revision: 10},
	} {
		got, err := parseCursor(text)
		if err != nil || got != want {
			t.Errorf("parseCursor(%q) = %+v, %v", text, got, err)
		}
		if back := formatCursor(got); back != text {
			t.Errorf("%q came back as %q", text, back)
		}
	}
	for _, text := range []string{
		"17", "e", ":", "e:", "e:0", "e:-1", "e:+1", "e:01", "e: 1", "e:1 ", "e:1.0", "e:9223372036854775808", "a:b:1", "é:1", "e/f:1",
		strings.Repeat("e", 65) + ":1", "\x00:1", "e:1\n",
	} {
		if got, err := parseCursor(text); err == nil {
			t.Errorf("parseCursor(%q) = %+v", text, got)
		}
	}
}

func FuzzParseCursor(f *testing.F) {
	for _, seed := range []string{"", "001763000000000-a1b2c3d4:17", ":1", "e:01", "e:-1", "a:b:c", "\xff:1", strings.Repeat("9", 100)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCursor(text)
		if err != nil {
			if len(err.Error()) > 300 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		if back := formatCursor(c); back != text {
			t.Errorf("%q was taken as %+v, which is %q", text, c, back)
		}
		if c.Revision < 0 {
			t.Errorf("%q gave the revision %d", text, c.Revision)
		}
	})
}
