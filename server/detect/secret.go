package detect

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/jurymast/jurymast/server/auth"
	"github.com/jurymast/jurymast/server/credential"
)

// errForbidden says that the sender is known, or shows something, but may not speak here.
var errForbidden = errors.New("not allowed")

// admit checks who sends: by the detector's secret, or where it names none by the server's own authentication. A
// reference to a secret may hold several, one on each line, so that a secret can be changed without losing a signal.
func (d *Detect) admit(r *http.Request, reference string) error {
	if reference == "" {
		return d.authorize(r)
	}
	secrets, err := credential.Resolve(reference)
	if err != nil {
		// The sender did nothing wrong and shall come back once this is mended.
		return fmt.Errorf("secret of the detector: %w: %w", ErrUnavailable, err)
	}
	shown := bearer(r)
	if shown == "" {
		return fmt.Errorf("the detector's secret is asked for as a bearer token: %w", auth.ErrUnauthenticated)
	}
	if !admits(secrets, shown) {
		return fmt.Errorf("wrong secret: %w", errForbidden)
	}
	return nil
}

// admits tells whether one of the secrets is the one that is shown, in a time that depends on neither.
func admits(secrets, shown string) bool {
	want := sha256.Sum256([]byte(shown))
	found := 0
	for line := range strings.Lines(secrets) {
		secret := strings.TrimSpace(line)
		if secret == "" {
			continue
		}
		have := sha256.Sum256([]byte(secret))
		found |= subtle.ConstantTimeCompare(have[:], want[:])
	}
	return found == 1
}

func (d *Detect) authorize(r *http.Request) error {
	if d.opts.Authorize == nil {
		return fmt.Errorf("the detector has no secret and the server no authentication: %w", errForbidden)
	}
	err := d.opts.Authorize(r)
	switch {
	case err == nil, errors.Is(err, auth.ErrUnauthenticated), errors.Is(err, ErrUnavailable):
		return err
	default:
		return fmt.Errorf("%w: %w", errForbidden, err)
	}
}
