package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// bindings maps an HTTP method and path template to the fields that its query may set. The gateway ignores parameters it
// doesn't know; we refuse them, or `?sevrice=chat` would list everything.
type bindings map[string][]string

// newBindings reads the HTTP rules of all services.
func newBindings() (bindings, error) {
	out := bindings{}
	for _, file := range []protoreflect.FileDescriptor{
		jv1.File_jurymast_v1_admin_proto, jv1.File_jurymast_v1_catalog_proto, jv1.File_jurymast_v1_continuity_proto,
		jv1.File_jurymast_v1_detector_proto, jv1.File_jurymast_v1_incident_proto, jv1.File_jurymast_v1_run_proto, jv1.File_jurymast_v1_runbook_proto,
	} {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				if err := out.add(methods.Get(j)); err != nil {
					return nil, err
				}
			}
		}
	}
	return out, nil
}

func (b bindings) add(method protoreflect.MethodDescriptor) error {
	rule, ok := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
	if !ok || rule == nil {
		return fmt.Errorf("%s has no HTTP rule", method.FullName())
	}
	var verb, path string
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		verb, path = http.MethodGet, p.Get
	case *annotations.HttpRule_Post:
		verb, path = http.MethodPost, p.Post
	case *annotations.HttpRule_Delete:
		verb, path = http.MethodDelete, p.Delete
	default:
		return fmt.Errorf("%s has an HTTP rule of another kind", method.FullName())
	}
	var fields []string
	if rule.GetBody() == "" {
		all := method.Input().Fields()
		for i := range all.Len() {
			if name := string(all.Get(i).Name()); !strings.Contains(path, "{"+name+"}") {
				fields = append(fields, name)
			}
		}
	}
	b[verb+" "+canonical(path)] = fields
	return nil
}

// canonical is the form in which the gateway names a template: `{name}` is short for `{name=*}`.
func canonical(path string) string { return strings.ReplaceAll(path, "}", "=*}") }

// check refuses query parameters that the matched method doesn't read.
func (b bindings) check(r *http.Request) error {
	pattern, ok := runtime.HTTPPattern(r.Context())
	if !ok || r.URL.RawQuery == "" {
		return nil
	}
	fields, ok := b[r.Method+" "+pattern.String()]
	if !ok {
		return fmt.Errorf("no rule for %s %s", r.Method, pattern)
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return invalid(Violation{Message: "the query can't be read: " + err.Error()})
	}
	for name := range values {
		if slices.Contains(fields, name) {
			continue
		}
		message := "there is no such parameter; want one of " + strings.Join(fields, ", ")
		if len(fields) == 0 {
			message = "parameters are not read here"
			if r.Method == http.MethodPost {
				message += ", they belong into the body"
			}
		}
		return invalid(Violation{Field: shortened(name), Message: message})
	}
	return nil
}
