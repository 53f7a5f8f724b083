package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/jurymast/jurymast/server/credential"
)

// contextFile is what the operator stored: where the servers are, and how to speak to them. It holds no secrets.
type contextFile struct {
	Current  string         `yaml:"current,omitempty"`
	Contexts []namedContext `yaml:"contexts"`
}

// namedContext is one way to speak to an installation.
type namedContext struct {
	Name     string   `yaml:"name" json:"name"`
	Servers  []string `yaml:"servers,omitempty" json:"servers"`
	Token    string   `yaml:"token,omitempty" json:"token,omitempty"`
	CA       string   `yaml:"ca,omitempty" json:"ca,omitempty"`
	Cert     string   `yaml:"cert,omitempty" json:"cert,omitempty"`
	Key      string   `yaml:"key,omitempty" json:"key,omitempty"`
	Insecure bool     `yaml:"insecure,omitempty" json:"insecure,omitempty"`
}

// contextPath is where the file stands: $JURYMAST_CONFIG, or jurymast/config.yaml in $XDG_CONFIG_HOME or ~/.config.
func (a *App) contextPath() (string, error) {
	if p := a.Getenv("JURYMAST_CONFIG"); p != "" {
		return p, nil
	}
	dir := a.Getenv("XDG_CONFIG_HOME")
	if dir == "" {
		home := a.Getenv("HOME")
		if home == "" {
			return "", errors.New("neither JURYMAST_CONFIG nor XDG_CONFIG_HOME nor HOME is set")
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "jurymast", "config.yaml"), nil
}

// loadContexts reads the file; without one there are no contexts.
func (a *App) loadContexts() (*contextFile, error) {
	path, err := a.contextPath()
	if err != nil {
		return &contextFile{}, nil //nolint:nilerr // without a home there is no file, which is no mistake
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &contextFile{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the contexts: %w", err)
	}
	var f contextFile
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, Exit(ExitUsage, fmt.Errorf("reading the contexts: %s: %w", path, err))
	}
	for _, c := range f.Contexts {
		if err := c.check(); err != nil {
			return nil, Exit(ExitUsage, fmt.Errorf("reading the contexts: %s: %w", path, err))
		}
	}
	return &f, nil
}

func (c namedContext) check() error {
	if c.Name == "" {
		return errors.New("a context has no name")
	}
	if c.Token != "" && !credential.IsReference(c.Token) {
		return fmt.Errorf("context %s: the token must be a reference, env:NAME or file:/path, never the token itself", c.Name)
	}
	return nil
}

// saveContexts replaces the file as a whole.
func (a *App) saveContexts(f *contextFile) error {
	path, err := a.contextPath()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(f); err != nil {
		return fmt.Errorf("writing the contexts: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("writing the contexts: %w", err)
	}
	if err := replaceFile(path, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("writing the contexts: %w", err)
	}
	return nil
}

// find returns the context of a name; nil when there is none.
func (f *contextFile) find(name string) *namedContext {
	if i := slices.IndexFunc(f.Contexts, func(c namedContext) bool { return c.Name == name }); i >= 0 {
		return &f.Contexts[i]
	}
	return nil
}

// replaceFile puts data in the place of a file, so that a reader finds the old one or the new one and never a part.
func replaceFile(path string, data []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	for _, finish := range []func() error{func() error { return f.Chmod(mode) }, f.Sync, f.Close} {
		if finishErr := finish(); err == nil {
			err = finishErr
		}
	}
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
