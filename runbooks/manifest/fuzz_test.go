package manifest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FuzzParse holds the package to its promises: no panic, errors with a place, what was read can be written and read
// again, and an end in time.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		input, _, _ := bytes.Cut(content, []byte(divider))
		f.Add(input)
	}
	f.Add([]byte(sample))
	f.Fuzz(func(t *testing.T, data []byte) {
		started := time.Now()
		documents, err := Parse("fuzz.yaml", data)
		if err != nil {
			all, ok := errors.AsType[Errors](err)
			if !ok || len(all) == 0 || len(all) > mostErrors+1 {
				t.Fatalf("%T of %d", err, len(all))
			}
			for _, e := range all {
				if e.Line < 1 || e.Column < 1 || e.Message == "" || e.File == "" {
					t.Errorf("an error without a place: %+v", e)
				}
			}
		}
		for _, d := range documents {
			checkRoundTrip(t, d.Resource)
			for _, field := range []string{"", "name", "steps[0].wait.until", "providers[1].models[x]"} {
				if line, column := d.Locate(field); line < 1 || column < 1 {
					t.Errorf("%s is at %d:%d", field, line, column)
				}
			}
		}
		if took := time.Since(started); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
