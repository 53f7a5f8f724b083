package auth

import (
	"testing"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// served is every service that the server registers.
func served(t *testing.T) map[string]protoreflect.ServiceDescriptor {
	t.Helper()
	out := map[string]protoreflect.ServiceDescriptor{}
	add := func(f protoreflect.FileDescriptor) {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			out[string(s.FullName())] = s
		}
	}
	protoregistry.GlobalFiles.RangeFilesByPackage(jv1.File_jurymast_v1_run_proto.Package(), func(f protoreflect.FileDescriptor) bool {
		add(f)
		return true
	})
	add(healthpb.File_grpc_health_v1_health_proto)
	add(reflectionv1.File_grpc_reflection_v1_reflection_proto)
	add(reflectionv1alpha.File_grpc_reflection_v1alpha_reflection_proto)
	return out
}

func TestEveryMethodHasARule(t *testing.T) {
	services := served(t)
	if len(services) < 9 {
		t.Fatalf("only %d services found", len(services))
	}
	for name, s := range services {
		for i := range s.Methods().Len() {
			method := "/" + name + "/" + string(s.Methods().Get(i).Name())
			if _, ok := RuleOf(method); !ok {
				t.Errorf("%s has no rule", method)
			}
		}
	}
	for name, methods := range rules {
		s, ok := services[name]
		if !ok {
			t.Errorf("rules speak of %s, which isn't served", name)
			continue
		}
		for method := range methods {
			if s.Methods().ByName(protoreflect.Name(method)) == nil {
				t.Errorf("rules speak of %s/%s, which doesn't exist", name, method)
			}
		}
	}
}

// TestOnlyHealthIsForEverybody keeps the table from opening a method by an oversight: of ours, none goes without a role,
// and what changes something needs more than a viewer, except a follower's report.
func TestOnlyHealthIsForEverybody(t *testing.T) {
	for name, methods := range rules {
		for method, rule := range methods {
			if rule.Role == None && name != "grpc.health.v1.Health" {
				t.Errorf("%s/%s is open to everybody", name, method)
			}
			if !rule.Read && rule.Role < Operator && method != "ReportInForce" {
				t.Errorf("%s/%s changes something and needs only %v", name, method, rule.Role)
			}
		}
	}
}

func TestRuleOfRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, method := range []string{"", "/", "GetRun", "/jurymast.v1.RunService/", "/jurymast.v1.RunService/Getrun", "/RunService/GetRun", "/jurymast.v1.RunService/GetRun/x"} {
		if rule, ok := RuleOf(method); ok {
			t.Errorf("RuleOf(%q) = %v", method, rule)
		}
	}
	if got := Action("/jurymast.v1.RunService/GetRun"); got != "RunService.GetRun" {
		t.Errorf("Action = %q", got)
	}
}

func TestRoles(t *testing.T) {
	for _, r := range []Role{Viewer, Operator, Admin} {
		got, err := ParseRole(r.String())
		if err != nil || got != r {
			t.Errorf("ParseRole(%q) = %v, %v", r, got, err)
		}
		if !r.Covers(r) || !r.Covers(None) || !Admin.Covers(r) || None.Covers(r) {
			t.Errorf("order of %v", r)
		}
	}
	for _, name := range []string{"", "none", "Admin", "root"} {
		if r, err := ParseRole(name); err == nil {
			t.Errorf("ParseRole(%q) = %v", name, r)
		}
	}
}
