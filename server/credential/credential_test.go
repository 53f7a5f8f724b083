package credential_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jurymast/jurymast/server/credential"
)

func TestResolve(t *testing.T) {
	t.Setenv("JM_TEST_SECRET", "s3cret")
	t.Setenv("JM_TEST_EMPTY", "")
	dir := t.TempDir()
	file := filepath.Join(dir, "key")
	if err := os.WriteFile(file, []byte("from-file\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, make([]byte, 1<<17), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		ref, want string
		fails     bool
	}{
		{"", "", false},
		{"env:JM_TEST_SECRET", "s3cret", false},
		{"env:JM_TEST_EMPTY", "", true},
		{"env:JM_TEST_ABSENT", "", true},
		{"file:" + file, "from-file", false},
		{"file:" + empty, "", true},
		{"file:" + large, "", true},
		{"file:" + dir, "", true},
		{"file:" + dir + "/none", "", true},
		{"sk-live-1234567890", "", true},
	} {
		got, err := credential.Resolve(tc.ref)
		if got != tc.want || (err != nil) != tc.fails {
			t.Errorf("Resolve(%q) = %q, %v", tc.ref, got, err)
		}
		if err != nil && !errors.Is(err, credential.ErrUnresolved) {
			t.Errorf("Resolve(%q): %v is not ErrUnresolved", tc.ref, err)
		}
		if err != nil && strings.Contains(err.Error(), "sk-live") {
			t.Errorf("Resolve(%q) shows what may be a secret: %v", tc.ref, err)
		}
	}
}

func TestResolveAddress(t *testing.T) {
	t.Setenv("JM_TEST_URL", "https://hooks.example.com/x")
	for in, want := range map[string]string{
		"https://a.example.com": "https://a.example.com",
		"env:JM_TEST_URL":       "https://hooks.example.com/x",
	} {
		if got, err := credential.ResolveAddress(in); err != nil || got != want {
			t.Errorf("ResolveAddress(%q) = %q, %v", in, got, err)
		}
	}
}
