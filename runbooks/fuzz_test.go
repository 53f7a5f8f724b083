package runbooks_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/manifest"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// FuzzValidate holds the package to its promises for whatever a client may send: no panic, what is given stays as it is,
// normalising and simplifying are inverse to each other, and an end in time.
func FuzzValidate(f *testing.F) {
	files, err := filepath.Glob("testdata/validate/*.golden")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		text, _, _ := bytes.Cut(content, []byte(divider))
		documents, err := manifest.Parse(file, bytes.ReplaceAll(text, []byte("==========\n"), []byte("---\n")))
		if err != nil {
			f.Fatal(err)
		}
		wire, err := proto.Marshal(&jv1.ApplyRequest{Resources: resourcesOf(documents)})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		started := time.Now()
		var request jv1.ApplyRequest
		if len(wire) > 64<<10 || proto.Unmarshal(wire, &request) != nil {
			return
		}
		before := proto.CloneOf(&request)
		for _, catalog := range []*runbooks.Catalog{nil, {Vantages: 1}} {
			problems, warnings := runbooks.ValidateResources(request.GetResources(), catalog)
			for _, p := range problems {
				if p.GetMessage() == "" || !strings.HasPrefix(p.GetField(), "resources[") {
					t.Errorf("a problem without a place: %v", p)
				}
			}
			for _, w := range warnings {
				if w == "" {
					t.Error("an empty warning")
				}
			}
		}
		for _, r := range request.GetResources() {
			rb := r.GetRunbook()
			if rb == nil {
				continue
			}
			runbooks.Outline(rb, nil)
			n := runbooks.Normalize(rb)
			if hash := runbooks.Hash(rb); hash != runbooks.Hash(n) || hash != runbooks.Hash(runbooks.Simplify(n)) {
				t.Errorf("the hash of %v depends on its form", rb)
			}
			if !proto.Equal(runbooks.Normalize(runbooks.Simplify(n)), n) {
				t.Errorf("%v\nis simplified to\n%v", n, runbooks.Simplify(n))
			}
		}
		if !proto.Equal(&request, before) {
			t.Error("what was given has changed")
		}
		if took := time.Since(started); took > 20*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
