// Package credential resolves references to secrets, so that secrets themselves are stored nowhere.
//
// A reference is `env:NAME`, the value of an environment variable, or `file:/path`, the content of a file without
// trailing line breaks. It is resolved at every use, so that a rotated secret is picked up without a restart. The
// package never logs a value and never keeps one.
package credential

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// ErrUnresolved says that a reference names nothing, or nothing readable. The wrapping error holds the reference, never
// the secret.
var ErrUnresolved = errors.New("credential can't be resolved")

// maxFile bounds what is read from a file: secrets are small, and a wrong path may be a device.
const maxFile = 64 << 10

// Resolve returns the secret a reference names. The empty reference gives the empty secret. Any other text that is not
// a reference is an error, so that a secret written in place of a reference is never used by accident. Safe for
// concurrent use.
func Resolve(ref string) (string, error) {
	if ref == "" {
		return "", nil
	}
	scheme, rest, _ := strings.Cut(ref, ":")
	switch scheme {
	case "env":
		v, ok := os.LookupEnv(rest)
		if !ok || v == "" {
			return "", fmt.Errorf("environment variable %s is not set: %w", rest, ErrUnresolved)
		}
		return v, nil
	case "file":
		return fromFile(rest)
	default:
		return "", fmt.Errorf("not a reference of the form env:NAME or file:/path: %w", ErrUnresolved)
	}
}

// IsReference tells whether text has the form of a reference.
func IsReference(text string) bool {
	return strings.HasPrefix(text, "env:") || strings.HasPrefix(text, "file:")
}

// ResolveAddress returns an address that may be given plainly or by reference.
func ResolveAddress(text string) (string, error) {
	if IsReference(text) {
		return Resolve(text)
	}
	return text, nil
}

func fromFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnresolved, err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return "", fmt.Errorf("%s is not a regular file of at most %d bytes: %w", path, maxFile, ErrUnresolved)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnresolved, err)
	}
	v := strings.TrimRight(string(b), "\r\n")
	if v == "" {
		return "", fmt.Errorf("%s is empty: %w", path, ErrUnresolved)
	}
	return v, nil
}
