package cli

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/manifest"
)

// filesFlag adds -f.
func filesFlag(cmd *cobra.Command, to *[]string) {
	cmd.Flags().StringArrayVarP(to, "filename", "f", nil, "`file`, folder (its .yaml and .yml files, subfolders too) or - for standard input; may be repeated")
}

// load reads the documents of files, folders and standard input. All mistakes of all files come together, as
// manifest.Errors, beside the documents that have none.
func (a *App) load(names []string) ([]manifest.Document, error) {
	if len(names) == 0 {
		return nil, usage("give files with -f")
	}
	var documents []manifest.Document
	var mistakes manifest.Errors
	seen := map[string]bool{}
	for _, name := range names {
		files, err := expand(name)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			if seen[file] {
				continue
			}
			seen[file] = true
			data, err := a.read(file)
			if err != nil {
				return nil, err
			}
			shown := file
			if file == "-" {
				shown = "<stdin>"
			}
			found, err := manifest.Parse(shown, data)
			documents = append(documents, found...)
			var errs manifest.Errors
			switch {
			case errors.As(err, &errs):
				mistakes = append(mistakes, errs...)
			case err != nil:
				return nil, fmt.Errorf("%s: %w", shown, err)
			}
		}
	}
	if len(mistakes) > 0 {
		return documents, mistakes
	}
	if len(documents) == 0 {
		return nil, fmt.Errorf("there are no documents in %s", strings.Join(names, ", "))
	}
	return documents, nil
}

// expand lists the files of a folder, in the order of their names; a file is itself.
func expand(name string) ([]string, error) {
	if name == "-" {
		return []string{name}, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("reading the files: %w", err)
	}
	if !info.IsDir() {
		return []string{filepath.Clean(name)}, nil
	}
	var files []string
	err = filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != name && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case !d.IsDir() && !strings.HasPrefix(d.Name(), ".") && slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(path)):
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the files: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s holds no .yaml or .yml file", name)
	}
	return files, nil
}

// fileAtMost bounds what is read of one file; the parser allows less.
const fileAtMost = 16 << 20

func (a *App) read(file string) ([]byte, error) {
	in := a.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("reading the files: %w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, fileAtMost+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	if len(data) > fileAtMost {
		return nil, fmt.Errorf("reading %s: it has more than %d bytes", file, fileAtMost)
	}
	return data, nil
}

func resourcesOf(documents []manifest.Document) []*jv1.Resource {
	out := make([]*jv1.Resource, 0, len(documents))
	for _, d := range documents {
		out = append(out, d.Resource)
	}
	return out
}

// sortDocuments brings documents into the order in which they build on each other.
func sortDocuments(documents []manifest.Document) {
	rank := map[string]int{"provider": 0, "channel": 1, "service": 2, "detector": 3, "runbook": 4, "schedule": 5, "maintenance": 5, "settings": 5}
	slices.SortStableFunc(documents, func(a, b manifest.Document) int {
		return cmp.Compare(rank[runbooks.KindOf(a.Resource)], rank[runbooks.KindOf(b.Resource)])
	})
}

// mistakes are what is wrong with files, as an error that shows each with its place.
func mistakes(errs manifest.Errors) error {
	return Exit(ExitFailed, fmt.Errorf("%s\n%w", count(len(errs), "mistake", "mistakes"), errs))
}

// placed turns a server's refusal of resources into mistakes of the files that they stand in.
func placed(err error, documents []manifest.Document) error {
	problems := problemsOf(err)
	if len(problems) == 0 {
		return err
	}
	return mistakes(manifest.Problems(documents, problems))
}

// manifestOf writes resources as the files that an operator would have written.
func manifestOf(resources []*jv1.Resource) ([]byte, error) {
	var b bytes.Buffer
	for i, r := range resources {
		if i > 0 {
			b.WriteString("---\n")
		}
		if err := manifest.Write(&b, r); err != nil {
			return nil, fmt.Errorf("writing YAML: %w", err)
		}
	}
	return b.Bytes(), nil
}
