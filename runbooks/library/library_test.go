package library_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/library"
	"github.com/jurymast/jurymast/runbooks/manifest"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

var update = flag.Bool("update", false, "write the golden plans anew")

func TestNames(t *testing.T) {
	if got, want := strings.Join(library.Names(), " "), "ai-provider-outage fail-back queue-and-notify"; got != want {
		t.Errorf("%q is shipped, want %q", got, want)
	}
	for _, name := range []string{"nope", "", "../library", "library.go", "./fail-back"} {
		if _, err := library.Read(name); !errors.Is(err, library.ErrNotFound) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func shipped(t *testing.T, name string) *jv1.Resource {
	t.Helper()
	content, err := library.Read(name)
	if err != nil {
		t.Fatal(err)
	}
	documents, err := manifest.Parse(name+".yaml", content)
	if err != nil {
		t.Fatal(err)
	}
	if len(documents) != 1 || documents[0].Resource.GetRunbook().GetName() != name {
		t.Fatalf("%s holds %v", name, documents)
	}
	return documents[0].Resource
}

// TestShippedRunbooksAreSound holds each to no problem and no warning, where all it names is there and offline.
func TestShippedRunbooksAreSound(t *testing.T) {
	catalog := &runbooks.Catalog{
		Services: map[string]*jv1.Service{"chat": {
			Name: "chat", Providers: []*jv1.ServiceProvider{{Name: "openai"}, {Name: "azure-eu"}},
		}},
		Channels: map[string]*jv1.Channel{"oncall": {Name: "oncall"}},
	}
	for _, name := range library.Names() {
		resource := shipped(t, name)
		problems, warnings := runbooks.Validate(resource.GetRunbook(), catalog)
		if len(problems)+len(warnings) > 0 {
			t.Errorf("%s: %v, %q", name, problems, warnings)
		}
		if problems, _ := runbooks.Validate(resource.GetRunbook(), nil); len(problems) > 0 {
			t.Errorf("%s offline: %v", name, problems)
		}
		var written strings.Builder
		if err := manifest.Write(&written, resource); err != nil {
			t.Fatal(err)
		}
		again, err := manifest.Parse(name, []byte(written.String()))
		if err != nil || !proto.Equal(runbooks.Normalize(again[0].Resource.GetRunbook()), runbooks.Normalize(resource.GetRunbook())) {
			t.Errorf("%s is written as %s: %v", name, written.String(), err)
		}
	}
}

// TestPlans compares what each would do with the plan beside it.
func TestPlans(t *testing.T) {
	for _, name := range library.Names() {
		plan := runbooks.Outline(shipped(t, name).GetRunbook(), nil)
		if int(plan.GetMaxTransactions()) > len(plan.GetSteps())+1 {
			t.Errorf("%s needs %d transactions for %d steps", name, plan.GetMaxTransactions(), len(plan.GetSteps()))
		}
		got, golden := describe(plan), name+".plan"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s is not what %s says, -update writes it:\n%s", name, golden, got)
		}
	}
}

func describe(plan *jv1.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "runbook: %s\nmost transactions: %d\n", plan.GetRunbook(), plan.GetMaxTransactions())
	for _, step := range plan.GetSteps() {
		fmt.Fprintf(&b, "-- %s --\n%s: %s\n", step.GetId(), step.GetKind(), step.GetSummary())
		if step.GetFused() {
			b.WriteString("in the transaction that creates the run\n")
		}
		if step.GetCondition() != "" {
			b.WriteString("if: " + step.GetCondition() + "\n")
		}
		if step.GetCompensation() != "" {
			b.WriteString("undone by: " + step.GetCompensation() + "\n")
		}
	}
	return b.String()
}
