package archtest

import (
	"fmt"
	"slices"
	"strings"
)

const module = "github.com/jurymast/jurymast"

// goPackage is what the rules need to know of one package of the module. Paths
// of the module's own packages are relative to it: "server/store".
type goPackage struct {
	path    string
	imports []string // direct, without those of its tests
	deps    []string // all, direct or not
}

// layers ranks the module's packages. An import goes to a lower rank, or stays
// among the packages of one entry. The longest entry that a path starts with
// holds for it.
var layers = map[string]int{
	"proto":             0,
	"server/credential": 0,
	"server/telemetry":  0,

	"client":   1,
	"runbooks": 1,

	"server/etcdnode": 2,
	"server/store":    2,

	"server/audit":   3,
	"server/request": 3,

	"server/archive":    4,
	"server/auth":       4,
	"server/backup":     4,
	"server/continuity": 4,
	"server/notify":     4,
	"server/queue":      4,

	"server/steps": 5,

	"server/api":        6,
	"server/console":    6,
	"server/detect":     6,
	"server/drill":      6,
	"server/engine":     6,
	"server/gateway":    6,
	"server/incident":   6,
	"server/retention":  6,
	"server/schedule":   6,
	"server/statuspage": 6,

	"server": 7,

	"server/daemon": 8,

	"cmd":      9,
	"internal": 9,
}

// siblings are the arrows inside one rank that we want. All others of a rank
// talk through small interfaces that the caller declares, and the composition
// root puts them together.
var siblings = map[string][]string{
	"cmd": {"internal"},
}

// ban forbids imports. Its prefixes match whole path elements.
type ban struct {
	in, except []string // where it holds: in all of "in" (everywhere when empty) but "except"
	imports    []string
	exact      []string // forbidden without what stands below them
	transitive bool     // also through other packages
	why        string
}

var bans = []ban{
	{
		// etcd makes its in-process client inside the server: the node has to
		// name that type to hand it to the store. A campaign steers its etcd
		// as an operator would: it moves the leader, replaces a member.
		except:  []string{"server/store", "server/etcdnode", "internal/campaign/cluster"},
		imports: []string{"go.etcd.io/etcd/client/v3", "go.etcd.io/etcd/api/v3"},
		why:     "only server/store imports the etcd client",
	},
	{
		// A campaign runs stock etcd in a process of its own.
		except:  []string{"server/etcdnode", "internal/campaign/etcdmember"},
		imports: []string{"go.etcd.io/etcd/server", "go.etcd.io/raft"},
		why:     "only server/etcdnode embeds etcd",
	},
	{
		// The generated code brings net with it, so this one looks at what
		// runbooks itself asks for.
		in:      []string{"runbooks"},
		imports: []string{"net/http", "net/rpc", "os/exec"},
		exact:   []string{"net", "os"},
		why:     "runbooks does no I/O",
	},
	{
		in:         []string{"runbooks"},
		imports:    []string{"go.etcd.io"},
		transitive: true,
		why:        "runbooks knows nothing of etcd",
	},
	{
		in:         []string{"client"},
		imports:    []string{"server", "go.etcd.io"},
		transitive: true,
		why:        "an application that links the SDK doesn't link the server",
	},
	{
		imports: []string{"internal/archtest"},
		why:     "archtest is for its own tests only",
	},
}

// importFindings tells every import that breaks a rule, in a stable order.
func importFindings(packages []goPackage) []string {
	var findings []string
	for _, p := range packages {
		findings = append(findings, layerFindings(p)...)
		for _, b := range bans {
			findings = append(findings, b.findings(p)...)
		}
	}
	slices.Sort(findings)
	return slices.Compact(findings)
}

func layerFindings(p goPackage) []string {
	from, ok := layerOf(p.path)
	if !ok {
		return []string{fmt.Sprintf("%s: has no layer, give it one in internal/archtest", p.path)}
	}
	var findings []string
	for _, imported := range p.imports {
		to, ok := layerOf(imported)
		if !ok || from == to || layers[to] < layers[from] || slices.Contains(siblings[from], to) {
			continue
		}
		findings = append(findings, fmt.Sprintf("%s imports %s: arrows point one way, from %s (layer %d) to below, and %s is in layer %d",
			p.path, imported, from, layers[from], to, layers[to]))
	}
	return findings
}

// layerOf names the entry of layers that holds for a package of the module.
// The composition root's entry doesn't stand for what is below it: a new
// package under server must be placed.
func layerOf(path string) (string, bool) {
	for entry := path; entry != ""; entry = parent(entry) {
		if _, ok := layers[entry]; ok && (entry != "server" || path == "server") {
			return entry, true
		}
	}
	return "", false
}

func parent(path string) string {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return ""
	}
	return path[:i]
}

func (b ban) findings(p goPackage) []string {
	if len(b.in) > 0 && !isBelowAny(p.path, b.in) || isBelowAny(p.path, b.except) {
		return nil
	}
	seen := p.imports
	verb := "imports"
	if b.transitive {
		seen, verb = p.deps, "depends on"
	}
	var findings []string
	for _, imported := range seen {
		if isBelowAny(imported, b.imports) || slices.Contains(b.exact, imported) {
			findings = append(findings, fmt.Sprintf("%s %s %s: %s", p.path, verb, imported, b.why))
		}
	}
	return findings
}

func isBelowAny(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool {
		return path == prefix || strings.HasPrefix(path, prefix+"/")
	})
}
