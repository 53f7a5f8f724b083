package docstest

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/server/v3/embed"
	"go.yaml.in/yaml/v3"
)

// composeFile is as much of the Compose specification as our file uses. What is not here is refused, so that a slip of
// the pen can't pass for a setting.
type composeFile struct {
	Name     string                    `yaml:"name"`
	Etcd     composeService            `yaml:"x-etcd"`
	Jurymast composeService            `yaml:"x-jurymast"`
	Services map[string]composeService `yaml:"services"`
	Networks map[string]struct {
		Internal bool `yaml:"internal"`
	} `yaml:"networks"`
	Volumes map[string]struct{} `yaml:"volumes"`
	Secrets map[string]struct {
		File string `yaml:"file"`
	} `yaml:"secrets"`
}

type composeService struct {
	Image string `yaml:"image"`
	Build struct {
		Context    string `yaml:"context"`
		Dockerfile string `yaml:"dockerfile"`
	} `yaml:"build"`
	Hostname    string   `yaml:"hostname"`
	Restart     string   `yaml:"restart"`
	Command     []string `yaml:"command"`
	Networks    []string `yaml:"networks"`
	Ports       []string `yaml:"ports"`
	Volumes     []string `yaml:"volumes"`
	Secrets     []string `yaml:"secrets"`
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	EnvFile     []struct {
		Path     string `yaml:"path"`
		Required bool   `yaml:"required"`
	} `yaml:"env_file"`
	DependsOn map[string]struct {
		Condition string `yaml:"condition"`
	} `yaml:"depends_on"`
	Healthcheck struct {
		Test        []string `yaml:"test"`
		Interval    string   `yaml:"interval"`
		Timeout     string   `yaml:"timeout"`
		StartPeriod string   `yaml:"start_period"`
		Retries     int      `yaml:"retries"`
	} `yaml:"healthcheck"`
}

func readCompose(text []byte) (*composeFile, error) {
	var file composeFile
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		return nil, fmt.Errorf("compose file: %w", err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("compose file: more than one document")
	}
	return &file, nil
}

// composeFindings tells what doesn't fit together in the file.
func composeFindings(file *composeFile) []string {
	var findings []string
	report := func(service, format string, args ...any) {
		findings = append(findings, service+": "+fmt.Sprintf(format, args...))
	}
	published := map[string]string{}
	for name, s := range file.Services {
		for _, network := range s.Networks {
			if _, ok := file.Networks[network]; !ok {
				report(name, "no network %s", network)
			}
		}
		for _, volume := range s.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			if _, ok := file.Volumes[source]; !ok {
				report(name, "no volume %s", source)
			}
		}
		for _, secret := range s.Secrets {
			if _, ok := file.Secrets[secret]; !ok {
				report(name, "no secret %s", secret)
			}
		}
		for other, d := range s.DependsOn {
			if on, ok := file.Services[other]; !ok || d.Condition == "service_healthy" && len(on.Healthcheck.Test) == 0 {
				report(name, "depends on %s, which isn't there or tells no health", other)
			}
		}
		for _, port := range s.Ports {
			host, _, err := net.SplitHostPort(port[:max(0, strings.LastIndexByte(port, ':'))])
			if err != nil || host != "127.0.0.1" {
				report(name, "port %s is not published on 127.0.0.1 alone", port)
			}
			outer := port[:max(0, strings.LastIndexByte(port, ':'))]
			if published[outer] != "" {
				report(name, "port %s is published twice", outer)
			}
			published[outer] = name
		}
		for _, arg := range s.Command {
			if _, file, ok := strings.Cut(arg, "=/run/secrets/"); ok && !slices.Contains(s.Secrets, file) {
				report(name, "%s is no secret of this service", arg)
			}
		}
		if s.Restart == "" || !s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") ||
			!slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			report(name, "restart, read_only, cap_drop ALL and no-new-privileges are not all there")
		}
	}
	slices.Sort(findings)
	return findings
}

// member is what an etcd command line says, as the etcd we link reads it.
type member struct {
	name, cluster, client, peer string
}

func readMember(command []string) (member, error) {
	if len(command) == 0 || command[0] != "etcd" {
		return member{}, fmt.Errorf("%q doesn't start etcd", command)
	}
	fs := flag.NewFlagSet("etcd", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	embed.NewConfig().AddFlags(fs)
	if err := fs.Parse(command[1:]); err != nil {
		return member{}, fmt.Errorf("etcd's flags: %w", err)
	}
	if fs.NArg() > 0 {
		return member{}, fmt.Errorf("etcd takes no arguments, but gets %q", fs.Args())
	}
	value := func(name string) string { return fs.Lookup(name).Value.String() }
	return member{
		name: value("name"), cluster: value("initial-cluster"),
		client: value("advertise-client-urls"), peer: value("initial-advertise-peer-urls"),
	}, nil
}

func TestCompose(t *testing.T) {
	root := repository(t)
	file, err := readCompose([]byte(read(t, filepath.Join(root, "deployments", "compose.yaml"))))
	if err != nil {
		t.Fatal(err)
	}
	for _, finding := range composeFindings(file) {
		t.Error(finding)
	}
	endpoints, cluster := composeMembers(t, file)
	if len(endpoints) != 3 {
		t.Errorf("%d members of etcd, want 3", len(endpoints))
	}
	replicas := 0
	for name, s := range file.Services {
		if s.Image != "jurymast" {
			continue
		}
		replicas++
		checkFlags(t, name, strings.Join(s.Command, " "))
		if want := "--etcd-endpoints=" + strings.Join(endpoints, ","); !slices.Contains(s.Command, want) {
			t.Errorf("%s doesn't have %s", name, want)
		}
		if s.Build.Context != ".." || s.Build.Dockerfile != "deployments/Dockerfile" {
			t.Errorf("%s is built from %s in %s", name, s.Build.Dockerfile, s.Build.Context)
		}
	}
	if replicas < 2 {
		t.Errorf("%d replicas, want 2 or more", replicas)
	}
	for name, s := range file.Services {
		if m, err := readMember(s.Command); err == nil && m.cluster != cluster {
			t.Errorf("%s starts the cluster %s, others %s", name, m.cluster, cluster)
		}
	}
	if n := file.Networks["store"]; !n.Internal {
		t.Error("etcd's network isn't internal: without authentication everybody could write to it")
	}
	checkEtcdVersion(t, file)
}

// composeMembers returns the client addresses of etcd's members in order, and their cluster.
func composeMembers(t *testing.T, file *composeFile) (endpoints []string, cluster string) {
	t.Helper()
	var peers []string
	for name, s := range file.Services {
		if !strings.HasPrefix(path.Base(s.Image), "etcd:") {
			continue
		}
		m, err := readMember(s.Command)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if m.name != name || m.client != "http://"+name+":2379" || m.peer != "http://"+name+":2380" {
			t.Errorf("%s calls itself %s, at %s and %s", name, m.name, m.client, m.peer)
		}
		if !slices.Equal(s.Networks, []string{"store"}) || len(s.Ports) > 0 {
			t.Errorf("%s can be reached by others than the replicas", name)
		}
		endpoints = append(endpoints, m.client)
		peers = append(peers, name+"="+m.peer)
		cluster = m.cluster
	}
	slices.Sort(endpoints)
	slices.Sort(peers)
	if want := strings.Join(peers, ","); cluster != want {
		t.Errorf("the cluster is %s, its members %s", cluster, want)
	}
	return endpoints, cluster
}

func checkEtcdVersion(t *testing.T, file *composeFile) {
	t.Helper()
	mod := read(t, filepath.Join(repository(t), "go.mod"))
	version := regexp.MustCompile(`go\.etcd\.io/etcd/client/v3 (v\S+)`).FindStringSubmatch(mod)[1]
	if !strings.HasSuffix(file.Etcd.Image, ":"+version) {
		t.Errorf("the image %s isn't the etcd %s that is tested against", file.Etcd.Image, version)
	}
}

func TestComposeFindings(t *testing.T) {
	const safe = "restart: always, read_only: true, cap_drop: [ALL], security_opt: ['no-new-privileges:true']"
	for _, test := range []struct{ name, text, want string }{
		{"sound", "services: {a: {" + safe + ", ports: ['127.0.0.1:1:2']}}", ""},
		{"unknown field", "services: {a: {comand: [x]}}", "field comand not found"},
		{"unsafe", "services: {a: {image: x}}", "a: restart, read_only"},
		{"open port", "services: {a: {" + safe + ", ports: ['1:2']}}", "a: port 1:2 is not published on 127.0.0.1"},
		{"port for all", "services: {a: {" + safe + ", ports: ['0.0.0.0:1:2']}}", "a: port 0.0.0.0:1:2 is not published"},
		{"port twice", "services: {a: {" + safe + ", ports: ['127.0.0.1:1:2', '127.0.0.1:1:3']}}", "published twice"},
		{"network", "services: {a: {" + safe + ", networks: [n]}}", "a: no network n"},
		{"volume", "services: {a: {" + safe + ", volumes: ['v:/x']}}", "a: no volume v"},
		{"secret", "services: {a: {" + safe + ", secrets: [s]}}", "a: no secret s"},
		{"secret's path", "services: {a: {" + safe + ", command: [--k=/run/secrets/s]}}", "is no secret of this service"},
		{"dependency", "services: {a: {" + safe + ", depends_on: {b: {condition: service_healthy}}}}", "a: depends on b"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file, err := readCompose([]byte(test.text))
			got := fmt.Sprint(err)
			if err == nil {
				got = strings.Join(composeFindings(file), "; ")
			}
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("found %q, want %q", got, test.want)
			}
		})
	}
	for _, command := range [][]string{{"sh"}, {"etcd", "--gone"}, {"etcd", "--quota-backend-bytes=much"}, {"etcd", "x"}} {
		if _, err := readMember(command); err == nil {
			t.Errorf("%q was taken", command)
		}
	}
}
