package runbooks

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/jurymast/jurymast/runbooks/rules"
	"github.com/jurymast/jurymast/runbooks/suggest"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// report collects what is found about one resource.
type report struct {
	subject  string // kind and name, before every warning
	prefix   string // before every field
	catalog  *Catalog
	problems []*jv1.Problem
	warnings []string
	broken   map[string]bool // fields that break a rule of the proto: nothing more is said of them
}

func newReport(kind, name string, c *Catalog) *report {
	return &report{subject: strings.TrimSpace(kind + " " + name), catalog: known(c), broken: map[string]bool{}}
}

// rules checks the rules that stand in the proto. What depends on a field that breaks one is not said again.
func (r *report) rules(message proto.Message) {
	for _, v := range rules.Check(message) {
		r.problem(v.Path, "%s", v.Message)
		r.broken[v.Path] = true
	}
}

func (r *report) problem(field, format string, args ...any) {
	if r.broken[field] {
		return
	}
	path := strings.TrimSuffix(r.prefix+field, ".") // of the resource itself when there is no field
	r.problems = append(r.problems, &jv1.Problem{Field: path, Message: fmt.Sprintf(format, args...)})
}

func (r *report) warn(format string, args ...any) {
	r.warnings = append(r.warnings, r.subject+": "+fmt.Sprintf(format, args...))
}

// missing says that a name leads nowhere: a problem where all is known, otherwise a warning.
func (r *report) missing(field, kind, name string, candidates []string) {
	if r.broken[field] {
		return
	}
	if r.catalog.partial {
		r.warn("%s: the %s %s is not in these files: the server has to know it", field, kind, name)
		return
	}
	r.problem(field, "unknown %s %q%s", kind, name, alternatives(name, candidates))
}

// alternatives names what was probably meant, or else all that there is when that is little.
func alternatives(word string, candidates []string) string {
	if question := suggest.Question(word, candidates); question != "" {
		return question
	}
	if len(candidates) == 0 || len(candidates) > 10 {
		return ""
	}
	return ", there are: " + strings.Join(candidates, ", ")
}

// quoted makes the path of a map entry, as protovalidate writes it.
func quoted(field, key string) string { return fmt.Sprintf("%s[%q]", field, key) }

func at(field string, index int) string { return fmt.Sprintf("%s[%d]", field, index) }
