package api

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/jurymast/jurymast/server/store"
)

// maxEpochLength bounds the restore epoch in a cursor.
const maxEpochLength = 64

// formatCursor writes a cursor as clients keep it: `epoch:revision`. The zero cursor is the empty text.
func formatCursor(c store.Cursor) string {
	if c == (store.Cursor{}) {
		return ""
	}
	return c.RestoreEpoch + ":" + strconv.FormatInt(c.Revision, 10)
}

// parseCursor reads what formatCursor wrote, and nothing else: a cursor that was cut or made up is a mistake of the
// caller, not a reason to start again silently.
func parseCursor(text string) (store.Cursor, error) {
	if text == "" {
		return store.Cursor{}, nil
	}
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return store.Cursor{}, fmt.Errorf("cursor %q: want epoch:revision", shortened(text))
	}
	epoch, digits := text[:i], text[i+1:]
	if len(epoch) > maxEpochLength || strings.ContainsFunc(epoch, notEpoch) {
		return store.Cursor{}, fmt.Errorf("cursor %q: that is no restore epoch", shortened(text))
	}
	revision, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || revision <= 0 || strconv.FormatInt(revision, 10) != digits {
		return store.Cursor{}, fmt.Errorf("cursor %q: that is no revision", shortened(text))
	}
	return store.Cursor{RestoreEpoch: epoch, Revision: revision}, nil
}

func notEpoch(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
}

// shortened keeps a caller's text from filling an error.
func shortened(text string) string {
	const most = 60
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
