package telemetry

import (
	"bytes"
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Redacted is what stands where a secret stood.
const Redacted = "[redacted]"

// minSecret is the shortest value that is treated as a secret. Removing shorter ones would tear ordinary words apart
// and protect nothing: who can read the log can guess three bytes.
const minSecret = 4

// secretEndings end the name of a field, header or query parameter whose value is a secret.
var secretEndings = []string{
	"authorization", "password", "passwd", "secret", "token", "apikey", "accesskey", "privatekey", "routingkey",
	"signature", "credential", "credentials", "cookie",
}

// Redactor knows the secrets of this process by value and removes them from text. The zero value knows none and is
// ready to use. It is safe for concurrent use; adding is rare and reading takes no lock.
type Redactor struct {
	mu     sync.Mutex
	known  map[string]struct{}
	search atomic.Pointer[[][]byte]
}

// Add registers secrets. A value is also found as it looks inside JSON, a URL or a quoted string. Values shorter than
// four bytes are ignored.
func (r *Redactor) Add(secrets ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = make(map[string]struct{})
	}
	for _, s := range secrets {
		s = strings.TrimSpace(s)
		if len(s) < minSecret {
			continue
		}
		for _, form := range forms(s) {
			r.known[form] = struct{}{}
		}
	}
	search := make([][]byte, 0, len(r.known))
	for s := range r.known {
		search = append(search, []byte(s))
	}
	// The longest first: a secret that contains another must go as a whole.
	slices.SortFunc(search, func(a, b []byte) int { return len(b) - len(a) })
	r.search.Store(&search)
}

// forms returns what a secret may look like in a line of a log.
func forms(s string) []string {
	quoted := strconv.Quote(s)
	all := []string{
		s, url.QueryEscape(s), url.PathEscape(s), quoted[1 : len(quoted)-1],
		strings.ReplaceAll(s, `"`, `\"`), // hclog's text escapes quotes but not backslashes
	}
	if escaped, err := json.Marshal(s); err == nil {
		all = append(all, string(escaped[1:len(escaped)-1]))
	}
	return all
}

// Redact returns s without the registered secrets.
func (r *Redactor) Redact(s string) string {
	return string(r.redact([]byte(s)))
}

func (r *Redactor) redact(p []byte) []byte {
	search := r.search.Load()
	if search == nil {
		return p
	}
	for _, secret := range *search {
		if bytes.Contains(p, secret) {
			p = bytes.ReplaceAll(p, secret, []byte(Redacted))
		}
	}
	return p
}

// Writer returns a writer that removes the registered secrets, also those added later, from each Write before it
// reaches w. A secret that is split over two writes is not found, so give it whole lines, as a logger does.
func (r *Redactor) Writer(w io.Writer) io.Writer {
	return &redactingWriter{to: w, redactor: r}
}

type redactingWriter struct {
	to       io.Writer
	redactor *Redactor
}

// Write reports the length of what it was given: the caller knows nothing about what was removed.
func (w *redactingWriter) Write(p []byte) (int, error) {
	if _, err := w.to.Write(w.redactor.redact(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SecretName reports whether a field, header or query parameter of this name holds a secret, judged by how it ends:
// "Authorization", "X-Api-Key" and "access_token" do, "max_tokens" and "keyboard" don't.
func SecretName(name string) bool {
	flat := strings.NewReplacer("-", "", "_", "", ".", "", " ", "").Replace(strings.ToLower(name))
	if flat == "sig" || flat == "key" {
		return true
	}
	return slices.ContainsFunc(secretEndings, func(end string) bool { return strings.HasSuffix(flat, end) })
}

// RedactURL returns a URL that may be logged: without its password, and with the values of query parameters that hold
// secrets replaced. What can't be parsed is replaced as a whole.
func RedactURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return Redacted
	}
	if _, has := u.User.Password(); has {
		u.User = url.UserPassword(u.User.Username(), "redacted")
	}
	query := u.Query()
	changed := false
	for name, values := range query {
		if !SecretName(name) {
			continue
		}
		for i := range values {
			values[i] = "redacted"
		}
		changed = true
	}
	if changed {
		u.RawQuery = query.Encode()
	}
	return u.String()
}
