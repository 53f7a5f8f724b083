package store

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"time"
)

// idEncoding is Crockford's base 32 in lower case: its order is that of ASCII, so ids sort by time.
var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID returns a unique id that sorts by time to the millisecond: the prefix, a dash, nearly ten characters of
// time and ten of chance (48 bits within one millisecond).
func NewID(prefix string, now time.Time) string {
	var b [12]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16)
	_, _ = rand.Read(b[6:]) // never fails, see crypto/rand
	return prefix + "-" + idEncoding.EncodeToString(b[:])
}
