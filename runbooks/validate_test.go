package runbooks_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/manifest"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

var update = flag.Bool("update", false, "write the golden files anew")

const divider = "----------\n"

// TestValidateGolden holds ValidateResources to testdata/validate: each file is what is applied, after `==========`
// what is stored, then a divider, and what is found. A first line `# vantages: N` says how many replicas probe,
// `# offline` that nothing is known of what is stored. Adding a case means adding a file and running with -update.
func TestValidateGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/validate/*.golden")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".golden"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, found := bytes.Cut(content, []byte(divider))
			if !found {
				t.Fatal("no divider")
			}
			got := findings(t, string(input))
			if *update {
				if err := os.WriteFile(file, append(append(bytes.Clone(input), divider...), got...), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func findings(t *testing.T, input string) string {
	t.Helper()
	applied, stored, _ := strings.Cut(input, "==========\n")
	documents := parse(t, applied)
	var catalog *runbooks.Catalog
	if !strings.HasPrefix(applied, "# offline\n") {
		catalog = catalogOf(parse(t, stored))
		if rest, ok := strings.CutPrefix(applied, "# vantages: "); ok {
			catalog.Vantages = int(rest[0] - '0')
		}
	}
	resources := resourcesOf(documents)
	before := make([]*jv1.Resource, len(resources))
	for i, r := range resources {
		before[i] = proto.CloneOf(r)
	}
	problems, warnings := runbooks.ValidateResources(resources, catalog)
	for i := range resources {
		if !proto.Equal(resources[i], before[i]) {
			t.Errorf("validating changed %v", before[i])
		}
	}
	var b strings.Builder
	for _, p := range problems {
		b.WriteString(p.GetField() + ": " + p.GetMessage() + "\n")
	}
	for _, w := range warnings {
		b.WriteString("warning: " + w + "\n")
	}
	for _, e := range manifest.Problems(documents, problems) {
		if e.File == "" || e.Snippet == "" {
			t.Errorf("%v has no place", e)
		}
	}
	return b.String()
}

func parse(t *testing.T, text string) []manifest.Document {
	t.Helper()
	documents, err := manifest.Parse("input.yaml", []byte(text))
	if err != nil {
		// What breaks rules of the proto doesn't come so far.
		t.Fatal(err)
	}
	return documents
}

func resourcesOf(documents []manifest.Document) []*jv1.Resource {
	var resources []*jv1.Resource
	for _, d := range documents {
		resources = append(resources, d.Resource)
	}
	return resources
}

// catalogOf makes what is stored of documents.
func catalogOf(documents []manifest.Document) *runbooks.Catalog {
	c := &runbooks.Catalog{
		Providers: map[string]*jv1.Provider{}, Services: map[string]*jv1.Service{}, Detectors: map[string]*jv1.Detector{},
		Channels: map[string]*jv1.Channel{}, Runbooks: map[string]*jv1.Runbook{},
	}
	for _, d := range documents {
		name := runbooks.NameOf(d.Resource)
		switch k := d.Resource.GetKind().(type) {
		case *jv1.Resource_Provider:
			c.Providers[name] = k.Provider
		case *jv1.Resource_Service:
			c.Services[name] = k.Service
		case *jv1.Resource_Detector:
			c.Detectors[name] = k.Detector
		case *jv1.Resource_Channel:
			c.Channels[name] = k.Channel
		case *jv1.Resource_Runbook:
			c.Runbooks[name] = k.Runbook
		}
	}
	return c
}
