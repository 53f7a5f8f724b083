package auth

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// maxFile bounds the file of principals.
	maxFile = 1 << 20
	// maxPrincipals bounds how many tokens a call is compared with.
	maxPrincipals = 1000
)

var principalName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$`)

// entry is one principal as it stands in the file.
type entry struct {
	Name        string `yaml:"name"`
	Role        string `yaml:"role"`
	TokenSHA256 string `yaml:"token_sha256"`
	CertURI     string `yaml:"cert_uri"`
	CertCN      string `yaml:"cert_cn"`
}

// directory is a parsed file of principals. It is not changed after it was parsed.
type directory struct {
	tokens []tokenEntry
	uris   map[string]Principal
	names  map[string]Principal // by common name
}

type tokenEntry struct {
	hash      [sha256.Size]byte
	principal Principal
}

// HashToken returns what stands in the file for a token: its SHA-256 in hex.
func HashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// parse reads a file of principals. All of its mistakes are told together.
func parse(text []byte) (*directory, error) {
	var file struct {
		Principals []entry `yaml:"principals"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("the file is empty: want `principals:` with at least one entry")
		}
		return nil, err
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("want one YAML document")
	}
	switch n := len(file.Principals); {
	case n == 0:
		return nil, errors.New("want at least one entry in `principals`")
	case n > maxPrincipals:
		return nil, fmt.Errorf("%d principals, at most %d", n, maxPrincipals)
	}
	d := &directory{uris: map[string]Principal{}, names: map[string]Principal{}}
	seen := map[string]bool{}
	var errs []error
	for i, e := range file.Principals {
		if seen[e.Name] {
			errs = append(errs, fmt.Errorf("principals[%d]: name %q is given twice", i, e.Name))
		}
		seen[e.Name] = true
		if err := d.add(e); err != nil {
			errs = append(errs, fmt.Errorf("principals[%d]: %w", i, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *directory) add(e entry) error {
	if !principalName.MatchString(e.Name) {
		return fmt.Errorf("name %q: want letters, digits and .-_@, at most 128", e.Name)
	}
	if e.Name == Local || e.Name == Anonymous || e.Name == machine {
		return fmt.Errorf("name %q is reserved", e.Name)
	}
	role, err := ParseRole(e.Role)
	if err != nil {
		return fmt.Errorf("%s: %w", e.Name, err)
	}
	p := Principal{Name: e.Name, Role: role}
	if e.TokenSHA256 == "" && e.CertURI == "" && e.CertCN == "" {
		return fmt.Errorf("%s: want one of token_sha256, cert_uri and cert_cn", e.Name)
	}
	if e.TokenSHA256 != "" {
		if err := d.addToken(e.TokenSHA256, p); err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
	}
	for _, certificate := range []struct {
		field, value string
		known        map[string]Principal
	}{{"cert_uri", e.CertURI, d.uris}, {"cert_cn", e.CertCN, d.names}} {
		if certificate.value == "" {
			continue
		}
		if other, ok := certificate.known[certificate.value]; ok {
			return fmt.Errorf("%s: %s %q belongs to %s already", e.Name, certificate.field, certificate.value, other.Name)
		}
		certificate.known[certificate.value] = p
	}
	return nil
}

func (d *directory) addToken(hash string, p Principal) error {
	raw, err := hex.DecodeString(strings.ToLower(hash))
	if err != nil || len(raw) != sha256.Size {
		return errors.New("token_sha256: want the SHA-256 of the token as 64 hex digits")
	}
	t := tokenEntry{hash: [sha256.Size]byte(raw), principal: p}
	if t.hash == sha256.Sum256(nil) {
		return errors.New("token_sha256: that is the hash of an empty token")
	}
	for _, other := range d.tokens {
		if other.hash == t.hash {
			return fmt.Errorf("token_sha256: %s has the same token", other.principal.Name)
		}
	}
	d.tokens = append(d.tokens, t)
	return nil
}

// byToken finds who has a token. All entries are compared, so that the time tells nothing of which one matched.
func (d *directory) byToken(token string) (Principal, bool) {
	sum := sha256.Sum256([]byte(token))
	var found Principal
	ok := false
	for i := range d.tokens {
		if subtle.ConstantTimeCompare(sum[:], d.tokens[i].hash[:]) == 1 {
			found, ok = d.tokens[i].principal, true
		}
	}
	return found, ok
}

// byCertificate finds who a verified certificate names: by a URI of the subject's alternative names, else by its common
// name.
func (d *directory) byCertificate(leaf *x509.Certificate) (Principal, bool) {
	for _, uri := range leaf.URIs {
		if p, ok := d.uris[uri.String()]; ok {
			return p, true
		}
	}
	p, ok := d.names[leaf.Subject.CommonName]
	return p, ok
}
