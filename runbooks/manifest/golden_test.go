package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/jurymast/jurymast/runbooks"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

var update = flag.Bool("update", false, "write the golden files anew")

const divider = "----------\n"

// TestGolden holds Parse to testdata: each file is an input, a divider, and what becomes of it: the resources as JSON,
// then the errors. Adding a case means adding a file and running with -update.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.golden")
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
			got := describe(t, input)
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

func describe(t *testing.T, input []byte) string {
	t.Helper()
	var b strings.Builder
	documents, err := Parse("input.yaml", input)
	for _, d := range documents {
		text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(d.Resource)
		if err != nil {
			t.Fatal(err)
		}
		var indented bytes.Buffer
		var value any
		if err := json.Unmarshal(text, &value); err != nil {
			t.Fatal(err)
		}
		e := json.NewEncoder(&indented)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(value); err != nil {
			t.Fatal(err)
		}
		b.Write(indented.Bytes())
		checkRoundTrip(t, d.Resource)
	}
	if err != nil {
		if _, ok := errors.AsType[Errors](err); !ok {
			t.Fatalf("%T is not Errors", err)
		}
		b.WriteString(err.Error() + "\n")
	}
	return b.String()
}

// checkRoundTrip holds Write to what Parse reads: the same resource, and the same text when it is written again.
func checkRoundTrip(t *testing.T, resource *jv1.Resource) {
	t.Helper()
	var text, again strings.Builder
	if err := Write(&text, resource); err != nil {
		t.Fatal(err)
	}
	documents, err := Parse("written.yaml", []byte(text.String()))
	if err != nil || len(documents) != 1 {
		t.Fatalf("what was written doesn't parse: %v\n%s", err, text.String())
	}
	if !proto.Equal(normal(documents[0].Resource), normal(resource)) {
		t.Errorf("what was written reads as\n%v\ninstead of\n%v\n%s", documents[0].Resource, resource, text.String())
	}
	if err := Write(&again, documents[0].Resource); err != nil || again.String() != text.String() {
		t.Errorf("written again: %v\n%s\ninstead of\n%s", err, again.String(), text.String())
	}
}

func normal(resource *jv1.Resource) *jv1.Resource {
	if rb := resource.GetRunbook(); rb != nil {
		return &jv1.Resource{Kind: &jv1.Resource_Runbook{Runbook: runbooks.Normalize(rb)}}
	}
	return resource
}
