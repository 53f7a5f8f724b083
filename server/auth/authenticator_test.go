package auth_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/jurymast/jurymast/server/auth"
	"github.com/jurymast/jurymast/server/auth/authtest"
)

// clock is a clock that a test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func (c *clock) pass(d time.Duration) { c.at = c.at.Add(d) }

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func chain(t *testing.T, p authtest.Pair) [][]*x509.Certificate {
	t.Helper()
	leaf, err := x509.ParseCertificate(p.TLS.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return [][]*x509.Certificate{{leaf}}
}

func TestAuthenticate(t *testing.T) {
	ca := authtest.NewCA(t)
	path := filepath.Join(t.TempDir(), "principals.yaml")
	writeFile(t, path, fmt.Sprintf(`principals:
- {name: alice, role: operator, token_sha256: %s}
- {name: gateway-1, role: viewer, cert_uri: "spiffe://example.org/gateway-1"}
- {name: deploy, role: admin, cert_cn: deploy.example.org, token_sha256: %s}
`, auth.HashToken("alice's token"), strings.ToUpper(auth.HashToken("deploy's token"))))
	a, err := auth.New(auth.Options{File: path})
	if err != nil {
		t.Fatal(err)
	}
	if !a.Configured() {
		t.Error("not configured")
	}
	gateway := chain(t, ca.Issue(authtest.Identity{CommonName: "deploy.example.org", URI: "spiffe://example.org/gateway-1"}))
	deploy := chain(t, ca.Issue(authtest.Identity{CommonName: "deploy.example.org", URI: "spiffe://example.org/unknown"}))
	stranger := chain(t, ca.Issue(authtest.Identity{CommonName: "stranger"}))
	for _, test := range []struct {
		name  string
		proof auth.Proof
		want  auth.Principal
	}{
		{name: "token", proof: auth.Proof{Authorization: "Bearer alice's token"}, want: auth.Principal{Name: "alice", Role: auth.Operator}},
		{name: "scheme in lower case", proof: auth.Proof{Authorization: "bearer deploy's token"}, want: auth.Principal{Name: "deploy", Role: auth.Admin}},
		{name: "URI before common name", proof: auth.Proof{Chains: gateway}, want: auth.Principal{Name: "gateway-1", Role: auth.Viewer}},
		{name: "common name", proof: auth.Proof{Chains: deploy}, want: auth.Principal{Name: "deploy", Role: auth.Admin}},
		{name: "token outweighs certificate", proof: auth.Proof{Authorization: "Bearer alice's token", Chains: deploy}, want: auth.Principal{Name: "alice", Role: auth.Operator}},
		{name: "wrong token beside a certificate", proof: auth.Proof{Authorization: "Bearer x", Chains: deploy}},
		{name: "wrong token", proof: auth.Proof{Authorization: "Bearer alice's  token"}},
		{name: "empty token", proof: auth.Proof{Authorization: "Bearer "}},
		{name: "hash as token", proof: auth.Proof{Authorization: "Bearer " + auth.HashToken("alice's token")}},
		{name: "basic", proof: auth.Proof{Authorization: "Basic YTpi"}},
		{name: "unknown certificate", proof: auth.Proof{Chains: stranger}},
		{name: "empty chain", proof: auth.Proof{Chains: [][]*x509.Certificate{{}}}},
		{name: "nothing, on loopback", proof: auth.Proof{Remote: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := a.Authenticate(test.proof)
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if refused := test.want == (auth.Principal{}); refused != errors.Is(err, auth.ErrUnauthenticated) {
				t.Errorf("error %v", err)
			}
			if err != nil && strings.Contains(err.Error(), auth.HashToken("alice's token")) {
				t.Errorf("the error shows a hash: %v", err)
			}
		})
	}
}

func TestAuthenticateWithoutConfiguration(t *testing.T) {
	a, err := auth.New(auth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		remote net.Addr
		want   string
	}{
		{remote: nil, want: auth.Local},
		{remote: &net.UnixAddr{Name: "x"}, want: auth.Local},
		{remote: &net.TCPAddr{IP: net.IPv6loopback}, want: auth.Local},
		{remote: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, want: auth.Anonymous},
	} {
		got, err := a.Authenticate(auth.Proof{Remote: test.remote, Authorization: "Bearer whatever"})
		if err != nil || got != (auth.Principal{Name: test.want, Role: auth.Admin}) {
			t.Errorf("%v: %+v, %v", test.remote, got, err)
		}
	}
	if a.Configured() {
		t.Error("configured")
	}
}

func TestPrincipalsAreReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "principals.yaml")
	file := func(token string) string {
		return "principals: [{name: alice, role: viewer, token_sha256: " + auth.HashToken(token) + "}]"
	}
	writeFile(t, path, file("old"))
	var logged bytes.Buffer
	c := &clock{at: time.Now()}
	a, err := auth.New(auth.Options{File: path, Now: c.now, Log: hclog.New(&hclog.LoggerOptions{Output: &logged})})
	if err != nil {
		t.Fatal(err)
	}
	accepts := func(token string) bool {
		_, err := a.Authenticate(auth.Proof{Authorization: "Bearer " + token})
		return err == nil
	}
	writeFile(t, path, file("new"))
	if !accepts("old") {
		t.Error("the file was looked at again at once, not once in a while")
	}
	c.pass(2 * time.Second)
	if accepts("old") || !accepts("new") {
		t.Error("the changed file is not in force")
	}
	writeFile(t, path, "principals: [{name: alice, role: king}]")
	c.pass(2 * time.Second)
	if !accepts("new") {
		t.Error("a broken file took the good one out of force")
	}
	if !strings.Contains(logged.String(), "king") {
		t.Errorf("the log doesn't say what is wrong: %s", logged.String())
	}
	logged.Reset()
	c.pass(2 * time.Second)
	if !accepts("new") || logged.Len() > 0 {
		t.Errorf("an unchanged broken file is told again: %s", logged.String())
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	c.pass(2 * time.Second)
	if !accepts("new") {
		t.Error("a removed file took the good one out of force")
	}
	writeFile(t, path, file("third"))
	c.pass(2 * time.Second)
	if !accepts("third") {
		t.Error("the mended file is not in force")
	}
}

func TestFileIsChecked(t *testing.T) {
	hash := auth.HashToken("t")
	for _, test := range []struct{ name, text, want string }{
		{"empty", "", "empty"},
		{"no principals", "principals: []", "at least one"},
		{"unknown field", "principals: [{name: a, role: viewer, token: x}]", "field token not found"},
		{"unknown role", "principals: [{name: a, role: king, token_sha256: " + hash + "}]", `unknown role "king"`},
		{"no proof", "principals: [{name: a, role: viewer}]", "want one of"},
		{"no name", "principals: [{role: viewer, token_sha256: " + hash + "}]", "name"},
		{"odd name", "principals: [{name: 'a b', role: viewer, token_sha256: " + hash + "}]", "name"},
		{"reserved name", "principals: [{name: local, role: viewer, token_sha256: " + hash + "}]", "reserved"},
		{"the machine's name", "principals: [{name: jurymast, role: viewer, token_sha256: " + hash + "}]", "reserved"},
		{"a token instead of its hash", "principals: [{name: a, role: viewer, token_sha256: secret}]", "64 hex digits"},
		{"hash of nothing", "principals: [{name: a, role: viewer, token_sha256: " + auth.HashToken("") + "}]", "empty token"},
		{"name twice", "principals: [{name: a, role: viewer, token_sha256: " + hash + "}, {name: a, role: viewer, cert_cn: a}]", "given twice"},
		{"token twice", "principals: [{name: a, role: viewer, token_sha256: " + hash + "}, {name: b, role: admin, token_sha256: " + hash + "}]", "a has the same token"},
		{"certificate twice", "principals: [{name: a, role: viewer, cert_cn: x}, {name: b, role: admin, cert_cn: x}]", "belongs to a already"},
		{"two documents", "principals: [{name: a, role: viewer, cert_cn: x}]\n---\n{}", "one YAML document"},
		{"not YAML", "principals: [", "yaml"},
		{"too large", "principals: [{name: a, role: viewer, cert_cn: x}] #" + strings.Repeat("x", 1<<20), "larger than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "principals.yaml")
			writeFile(t, path, test.text)
			_, err := auth.New(auth.Options{File: path})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want one with %q and the path", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), hash) {
				t.Errorf("the error shows a hash: %v", err)
			}
		})
	}
	t.Run("absent", func(t *testing.T) {
		if _, err := auth.New(auth.Options{File: filepath.Join(t.TempDir(), "none")}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("writable by everybody", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "principals.yaml")
		writeFile(t, path, "principals: [{name: a, role: viewer, cert_cn: x}]")
		if err := os.Chmod(path, 0o602); err != nil {
			t.Fatal(err)
		}
		if _, err := auth.New(auth.Options{File: path}); err == nil || !strings.Contains(err.Error(), "everybody can write") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a folder", func(t *testing.T) {
		if _, err := auth.New(auth.Options{File: t.TempDir()}); err == nil {
			t.Error("a folder was taken")
		}
	})
}

// TestTLSFollowsItsFiles rotates the server's certificate and the clients' authority under a listener.
func TestTLSFollowsItsFiles(t *testing.T) {
	ca, other := authtest.NewCA(t), authtest.NewCA(t)
	pair := ca.Issue(authtest.Identity{CommonName: "first", Server: true})
	client := ca.Issue(authtest.Identity{CommonName: "client"})
	foreign := other.Issue(authtest.Identity{CommonName: "client"})
	c := &clock{at: time.Now()}
	served, err := auth.NewTLS(auth.TLSOptions{CertFile: pair.CertFile, KeyFile: pair.KeyFile, ClientCAFile: ca.File, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	// handshake returns the names of the server's and the client's certificate.
	handshake := func(own *tls.Certificate) (server, who string, err error) {
		left, right := net.Pipe()
		defer left.Close()
		defer right.Close()
		conn := tls.Server(left, served.Config("h2"))
		done := make(chan error, 1)
		go func() {
			err := conn.Handshake()
			if err != nil {
				left.Close()
			}
			done <- err
		}()
		config := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}
		if own != nil {
			config.Certificates = []tls.Certificate{*own}
		}
		dialled := tls.Client(right, config)
		clientErr := dialled.Handshake()
		if clientErr != nil {
			right.Close()
		} else {
			go func() { // takes what the server still sends after the handshake
				var b [1]byte
				_, _ = dialled.Read(b[:])
			}()
		}
		if err := errors.Join(<-done, clientErr); err != nil {
			return "", "", err
		}
		if chains := conn.ConnectionState().VerifiedChains; len(chains) > 0 {
			who = chains[0][0].Subject.CommonName
		}
		return dialled.ConnectionState().PeerCertificates[0].Subject.CommonName, who, nil
	}
	if server, who, err := handshake(&client.TLS); err != nil || server != "first" || who != "client" {
		t.Errorf("got %q, %q, %v", server, who, err)
	}
	if server, who, err := handshake(nil); err != nil || server != "first" || who != "" {
		t.Errorf("without a certificate: %q, %q, %v", server, who, err)
	}
	ca.IssueTo(authtest.Identity{CommonName: "second", Server: true}, &pair)
	c.pass(2 * time.Second)
	if server, _, err := handshake(nil); err != nil || server != "second" {
		t.Errorf("after the rotation: %q, %v", server, err)
	}
	if err := os.WriteFile(pair.KeyFile, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.pass(2 * time.Second)
	if server, _, err := handshake(nil); err != nil || server != "second" {
		t.Errorf("with a broken key: %q, %v", server, err)
	}
	if _, who, err := handshake(&foreign.TLS); err == nil && who != "" {
		t.Errorf("a foreign certificate was verified as %q", who)
	}
}

func TestNewTLSRefuses(t *testing.T) {
	ca := authtest.NewCA(t)
	pair := ca.Issue(authtest.Identity{CommonName: "server", Server: true})
	empty := filepath.Join(t.TempDir(), "empty.pem")
	writeFile(t, empty, "")
	for _, o := range []auth.TLSOptions{
		{},
		{CertFile: pair.CertFile},
		{KeyFile: pair.KeyFile},
		{ClientCAFile: ca.File},
		{CertFile: pair.CertFile, KeyFile: empty},
		{CertFile: pair.CertFile, KeyFile: pair.KeyFile, ClientCAFile: empty},
		{CertFile: pair.CertFile, KeyFile: pair.KeyFile, ClientCAFile: empty + "x"},
	} {
		if _, err := auth.NewTLS(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
	if (auth.TLSOptions{}).Enabled() || !(auth.TLSOptions{ClientCAFile: "x"}).Enabled() {
		t.Error("Enabled")
	}
}
