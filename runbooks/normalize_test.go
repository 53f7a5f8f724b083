package runbooks_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/jurymast/jurymast/runbooks"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func notify(template string) *jv1.Step {
	return &jv1.Step{Action: &jv1.Step_Notify{Notify: &jv1.NotifyStep{Channels: []string{"oncall"}, Template: template}}}
}

func switchTo(providers ...string) *jv1.Step {
	return &jv1.Step{Action: &jv1.Step_SwitchProvider{SwitchProvider: &jv1.SwitchProviderStep{To: providers}}}
}

func request(method string) *jv1.Step {
	return &jv1.Step{Action: &jv1.Step_HttpRequest{HttpRequest: &jv1.HttpRequestStep{Method: method, Url: "https://example.org/"}}}
}

func outage() *jv1.Runbook {
	return &jv1.Runbook{
		Name: "ai-provider-outage", Services: []string{"chat"},
		On:    &jv1.RunbookOn{Health: jv1.OnHealth_ON_HEALTH_FAILING},
		Steps: []*jv1.Step{notify("outage-detected"), switchTo("azure-eu", "vllm"), notify("outage-handled")},
	}
}

func TestNormalize(t *testing.T) {
	rb := outage()
	named := notify("restored")
	named.Id = "tell"
	rb.Steps = append(rb.Steps, named, notify("restored"),
		request(""), request("GET"),
		&jv1.Step{Action: &jv1.Step_Verify{Verify: &jv1.VerifyStep{Health: jv1.VerifyHealth_VERIFY_HEALTH_HEALTHY}}},
		&jv1.Step{Action: &jv1.Step_Approval{Approval: &jv1.ApprovalStep{}}, OnFailure: jv1.OnFailure_ON_FAILURE_PAUSE},
		&jv1.Step{},
	)
	given := proto.CloneOf(rb)
	n := runbooks.Normalize(rb)
	if !proto.Equal(rb, given) {
		t.Error("what was given has changed")
	}
	var ids []string
	for _, step := range n.GetSteps() {
		ids = append(ids, step.GetId())
	}
	if got, want := strings.Join(ids, " "), "notify_1 switch_provider_1 notify_2 tell notify_4 http_request_1 http_request_2 verify_1 approval_1 "; got != want {
		t.Errorf("ids are %q, want %q", got, want)
	}
	if got := n.GetOn().GetProvider(); got != "active" {
		t.Errorf("on.provider is %q", got)
	}
	if a := n.GetAutomation(); a.GetDefault() != jv1.AutomationLevel_AUTOMATION_LEVEL_PROPOSE || a.GetWhenQueueing() != a.GetDefault() {
		t.Errorf("automation is %v", a)
	}
	if got := n.GetSteps()[0].GetOnFailure(); got != jv1.OnFailure_ON_FAILURE_ABORT {
		t.Errorf("on_failure is %v", got)
	}
	if got := n.GetSteps()[8]; got.GetOnFailure() != jv1.OnFailure_ON_FAILURE_PAUSE ||
		got.GetApproval().GetOnTimeout() != jv1.TimeoutAction_TIMEOUT_ACTION_DENY {
		t.Errorf("the approval is %v", got)
	}
	post, get := n.GetSteps()[5].GetHttpRequest(), n.GetSteps()[6].GetHttpRequest()
	if post.GetMethod() != "POST" || post.GetRepeat() != jv1.Repeatability_REPEATABILITY_AT_MOST_ONCE ||
		get.GetRepeat() != jv1.Repeatability_REPEATABILITY_IDEMPOTENT {
		t.Errorf("the requests are %v and %v", post, get)
	}
	if got := n.GetSteps()[7].GetVerify().GetProvider(); got != "active" {
		t.Errorf("verify.provider is %q", got)
	}
	if !proto.Equal(runbooks.Normalize(n), n) {
		t.Error("normalizing twice changes something")
	}
	if runbooks.Normalize(nil) != nil {
		t.Error("nil is not nil")
	}
	if got := runbooks.DefaultOnProvider(jv1.OnHealth_ON_HEALTH_HEALTHY); got != "preferred" {
		t.Errorf("healthy means %q", got)
	}
}

func TestHash(t *testing.T) {
	hash := runbooks.Hash(outage())
	if len(hash) != 64 {
		t.Fatalf("%q is no SHA-256", hash)
	}
	stored := runbooks.Normalize(outage())
	stored.Version, stored.Revision, stored.ContentHash, stored.UpdateTime = 3, 99, hash, timestamppb.Now()
	if got := runbooks.Hash(stored); got != hash {
		t.Error("what is stored has another hash than what was given")
	}
	if stored.GetVersion() != 3 {
		t.Error("hashing took the version away")
	}
	seen := map[string]string{hash: "the first"}
	for name, change := range map[string]func(*jv1.Runbook){
		"name":       func(rb *jv1.Runbook) { rb.Name = "x" },
		"step":       func(rb *jv1.Runbook) { rb.Steps = rb.Steps[:2] },
		"candidates": func(rb *jv1.Runbook) { rb.Steps[1] = switchTo("vllm", "azure-eu") },
		"joined":     func(rb *jv1.Runbook) { rb.Steps[1] = switchTo("azure-euvllm") },
		"timeout":    func(rb *jv1.Runbook) { rb.Timeout = durationpb.New(time.Hour) },
		"parameter":  func(rb *jv1.Runbook) { rb.Parameters = map[string]*jv1.Parameter{"a": {Default: "b"}} },
		"required":   func(rb *jv1.Runbook) { rb.Parameters = map[string]*jv1.Parameter{"a": {Required: true}} },
		"two parameters": func(rb *jv1.Runbook) {
			rb.Parameters = map[string]*jv1.Parameter{"a": {Default: "b"}, "c": {Default: "d"}}
		},
		"automation": func(rb *jv1.Runbook) {
			rb.Automation = &jv1.AutomationPolicy{Default: jv1.AutomationLevel_AUTOMATION_LEVEL_ACT}
		},
	} {
		rb := outage()
		change(rb)
		got := runbooks.Hash(rb)
		if other, taken := seen[got]; taken {
			t.Errorf("%s and %s have the same hash", name, other)
		}
		seen[got] = name
		if again := runbooks.Hash(proto.CloneOf(rb)); again != got {
			t.Errorf("%s: the hash changes", name)
		}
	}
	if runbooks.Hash(nil) == hash {
		t.Error("nothing has the hash of something")
	}
}

func TestStepKinds(t *testing.T) {
	want := "approval automation_off disable_queueing drain_queue enable_queueing http_request notify parallel run_runbook set_weight " +
		"switch_provider update_incident verify wait"
	if got := strings.Join(runbooks.StepKinds(), " "); got != want {
		t.Errorf("kinds are %q, want %q", got, want)
	}
	if got := runbooks.StepKind(switchTo("x")); got != "switch_provider" || runbooks.StepKind(&jv1.Step{}) != "" {
		t.Errorf("the kind is %q", got)
	}
	for kind, want := range map[string]bool{
		"switch_provider": true, "disable_queueing": true, "set_weight": true, "automation_off": true,
		"drain_queue": false, "update_incident": false, "notify": false, "wait": false, "nope": false,
	} {
		if got := runbooks.IsStateStep(kind); got != want {
			t.Errorf("IsStateStep(%q) = %v", kind, got)
		}
	}
	// Every kind that the API knows is in the table: what it doesn't list would be refused as not available.
	actions := (&jv1.Step{}).ProtoReflect().Descriptor().Oneofs().ByName("action").Fields()
	for i := range actions.Len() {
		m := (&jv1.Step{}).ProtoReflect()
		m.Set(actions.Get(i), m.NewField(actions.Get(i)))
		problems, _ := runbooks.Validate(&jv1.Runbook{Name: "x", Services: []string{"x"}, Steps: []*jv1.Step{m.Interface().(*jv1.Step)}}, nil)
		kind := string(actions.Get(i).Name())
		refused := false
		for _, p := range problems {
			refused = refused || p.GetMessage() == "step kind "+kind+" is not available in this version: remove the step, or upgrade" &&
				p.GetField() == "steps[0]."+kind
		}
		if available := strings.Contains(" "+want+" ", " "+kind+" "); available == refused {
			t.Errorf("%s: available %v, refused %v", kind, available, refused)
		}
	}
}

func TestClearOutput(t *testing.T) {
	p := runbooks.ClearOutput(&jv1.Provider{Name: "openai", Revision: 3, UpdateTime: timestamppb.Now()})
	if !proto.Equal(p, &jv1.Provider{Name: "openai"}) {
		t.Errorf("%v is left", p)
	}
}
