package docstest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// metricWord is a metric of ours in a document, or in a source.
var metricWord = regexp.MustCompile(`\bjurymast_[a-z0-9_]+\b`)

// histogram's series have endings of their own.
var seriesEnding = regexp.MustCompile(`_(bucket|count|sum)$`)

// definedMetrics returns the names in every literal of an options struct of Prometheus: what may ever be registered. A
// scrape alone doesn't show a metric with labels before it has counted something.
func definedMetrics(file *ast.File) []string {
	var names []string
	ast.Inspect(file, func(n ast.Node) bool {
		literal, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		selector, ok := literal.Type.(*ast.SelectorExpr)
		if !ok || !strings.HasSuffix(selector.Sel.Name, "Opts") {
			return true
		}
		parts := map[string]string{}
		for _, element := range literal.Elts {
			field, ok := element.(*ast.KeyValueExpr)
			if !ok {
				continue
			}
			key, ok := field.Key.(*ast.Ident)
			if !ok {
				continue
			}
			switch value := field.Value.(type) {
			case *ast.BasicLit:
				if text, err := strconv.Unquote(value.Value); err == nil {
					parts[key.Name] = text
				}
			case *ast.Ident, *ast.SelectorExpr:
				// telemetry.MetricNamespace, which is the only name used there.
				if key.Name == "Namespace" {
					parts[key.Name] = "jurymast"
				}
			}
		}
		if parts["Name"] == "" {
			return true
		}
		var name []string
		for _, part := range []string{parts["Namespace"], parts["Subsystem"], parts["Name"]} {
			if part != "" {
				name = append(name, part)
			}
		}
		names = append(names, strings.Join(name, "_"))
		return true
	})
	return names
}

// descriptions are the other way to define a metric: prometheus.NewDesc("jurymast_x", ...), also with
// prometheus.BuildFQName.
func describedMetrics(file *ast.File) []string {
	var names []string
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		selector, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || selector.Sel.Name != "NewDesc" {
			return true
		}
		if literal, ok := call.Args[0].(*ast.BasicLit); ok {
			if name, err := strconv.Unquote(literal.Value); err == nil {
				names = append(names, name)
			}
		}
		return true
	})
	return names
}

func sourceMetrics(t *testing.T) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(filepath.Join(repository(t), "server"), func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return err
		}
		names = append(append(names, definedMetrics(file)...), describedMetrics(file)...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// tableMetrics are those that docs/metrics.md has a row for.
func tableMetrics(text string) []string {
	var names []string
	for line := range strings.SplitSeq(text, "\n") {
		if name, ok := strings.CutPrefix(line, "| `jurymast_"); ok {
			name, _, _ = strings.Cut(name, "`")
			names = append(names, "jurymast_"+name)
		}
	}
	slices.Sort(names)
	return names
}

// TestMetricsAreDocumented compares the table with the sources, and what other documents name with the table.
func TestMetricsAreDocumented(t *testing.T) {
	table := tableMetrics(read(t, filepath.Join(repository(t), "docs", "metrics.md")))
	if want := sourceMetrics(t); !slices.Equal(table, want) {
		t.Errorf("docs/metrics.md has\n  %q, the sources\n  %q", table, want)
	}
	for _, d := range documents(t) {
		for _, name := range metricWord.FindAllString(d.text, -1) {
			if !slices.Contains(table, name) && !slices.Contains(table, seriesEnding.ReplaceAllString(name, "")) {
				t.Errorf("%s: there is no metric %s", d.path, name)
			}
		}
	}
}

func TestDefinedMetrics(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "a.go", `package a
var (
	_ = prometheus.NewGauge(prometheus.GaugeOpts{Name: "jurymast_a", Help: "A."})
	_ = prometheus.NewCounter(prometheus.CounterOpts{Namespace: telemetry.MetricNamespace, Subsystem: "b", Name: "c"})
	_ = prometheus.NewDesc("jurymast_d", "D.", nil, nil)
	_ = other.Options{Name: "e"}
)`, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := append(definedMetrics(file), describedMetrics(file)...)
	if want := []string{"jurymast_a", "jurymast_b_c", "jurymast_d"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	if got := tableMetrics("| metric |\n| `jurymast_a` | gauge |\n`jurymast_b`\n"); !slices.Equal(got, []string{"jurymast_a"}) {
		t.Errorf("the table holds %q", got)
	}
}
