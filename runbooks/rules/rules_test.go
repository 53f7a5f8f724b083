package rules

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/durationpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name    string
		message proto.Message
		want    []string
	}{
		{"sound", &jv1.Provider{Name: "openai", BaseUrl: "https://api.openai.com/v1", Credential: "env:KEY"}, nil},
		{
			"provider", &jv1.Provider{Name: "Open_AI", BaseUrl: "ftp://x", Credential: "sk-123", AuthHeader: "a b", Capabilities: []string{"A", "A"}},
			[]string{
				`name: must be a name of lower-case letters, digits and "-", at most 63, such as "azure-eu"`,
				`base_url: must be an address that begins with http:// or https://`,
				`credential: must be a reference, env:NAME or file:/path, never the secret itself`,
				`auth_header: must be the name of a header`,
				`capabilities: must not hold the same twice`,
				`capabilities[0]: must hold only lower-case letters, digits, "_" and "-", at most 63`,
				`capabilities[1]: must hold only lower-case letters, digits, "_" and "-", at most 63`,
			},
		},
		{
			"runbook", &jv1.Runbook{
				Name: "x", Services: nil, On: &jv1.RunbookOn{Health: 9},
				Parameters: map[string]*jv1.Parameter{"Zwei": {}, "Eins": {}, "drei": {Default: strings.Repeat("x", 1001)}},
				Timeout:    durationpb.New(time.Hour * 1000),
				Steps: []*jv1.Step{
					{Id: "9"},
					{Action: &jv1.Step_Wait{Wait: &jv1.WaitStep{}}},
					{Action: &jv1.Step_HttpRequest{HttpRequest: &jv1.HttpRequestStep{Method: "HEAD", ExpectStatus: []int32{1}}}},
					{Timeout: durationpb.New(0), Action: &jv1.Step_Verify{Verify: &jv1.VerifyStep{}}},
				},
			},
			[]string{
				`services: must be given`,
				`on.health: must be one of failing, healthy, blocked`,
				`parameters["Eins"]: must begin with a lower-case letter and hold only lower-case letters, digits and "_", at most 63`,
				`parameters["Zwei"]: must begin with a lower-case letter and hold only lower-case letters, digits and "_", at most 63`,
				`parameters["drei"].default: must be at most 1000 characters`,
				`timeout: must be greater than or equal to 1s and less than or equal to 720h`,
				`steps[0]: exactly one kind must be given`,
				`steps[0].id: must begin with a lower-case letter and hold only lower-case letters, digits and "_", at most 63`,
				`steps[1].wait: exactly one of duration and until must be given`,
				`steps[2].http_request.method: must be one of GET, POST, PUT, PATCH, DELETE`,
				`steps[2].http_request.url: must be given`,
				`steps[2].http_request.expect_status[0]: must be greater than or equal to 100 and less than or equal to 599`,
				`steps[3].timeout: must be greater than 0s and less than or equal to 720h`,
				`steps[3].verify.health: must be one of healthy`,
			},
		},
		{
			"list of enums", &jv1.FailingRule{Of: []jv1.EvidenceClass{0, 99}},
			[]string{
				`of[0]: must be one of passive, probe, provider_feed, external, operator`,
				`of[1]: must be one of passive, probe, provider_feed, external, operator`,
			},
		},
		{"channel", &jv1.Channel{Name: "x"}, []string{`exactly one kind must be given: webhook, slack, pagerduty, log`}},
		{
			"webhook", &jv1.Channel{Name: "x", Kind: &jv1.Channel_Webhook{Webhook: &jv1.WebhookChannel{Url: "x"}}},
			[]string{`webhook.url: must be an address that begins with http:// or https://, or a reference to one, env:NAME or file:/path`},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			for range 10 {
				var got []string
				for _, v := range Check(test.message) {
					got = append(got, v.String())
				}
				if !slices.Equal(got, test.want) {
					t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
				}
			}
		})
	}
}

// TestPatternsAreInWords finds a pattern of the protos that an operator would have to read as one.
func TestPatternsAreInWords(t *testing.T) {
	longest := strings.Repeat("!", 3000)
	var fields func(message protoreflect.MessageDescriptor)
	seen := map[protoreflect.FullName]bool{}
	fields = func(message protoreflect.MessageDescriptor) {
		if seen[message.FullName()] || !strings.HasPrefix(string(message.FullName()), "jurymast.") {
			return
		}
		seen[message.FullName()] = true
		kind, err := protoregistry.GlobalTypes.FindMessageByName(message.FullName())
		if err != nil {
			t.Fatal(err)
		}
		filled := kind.New()
		for i := range message.Fields().Len() {
			field := message.Fields().Get(i)
			if field.Kind() == protoreflect.StringKind && !field.IsList() && !field.IsMap() {
				filled.Set(field, protoreflect.ValueOfString(longest))
			}
			if field.Kind() == protoreflect.MessageKind && !field.IsMap() {
				fields(field.Message())
			}
		}
		for _, v := range Check(filled.Interface()) {
			if strings.Contains(v.Message, "regex") {
				t.Errorf("%s: %s", message.FullName(), v)
			}
		}
	}
	fields((&jv1.Resource{}).ProtoReflect().Descriptor())
}

func TestEnumWords(t *testing.T) {
	for _, test := range []struct {
		enum protoreflect.EnumDescriptor
		want string
	}{
		{jv1.EvidenceClass(0).Descriptor(), "passive probe provider_feed external operator"},
		{jv1.AutomationLevel(0).Descriptor(), "observe propose act"},
		{jv1.OpenAiProbeLevel(0).Descriptor(), "connect models completion"},
		{jv1.OnAmbiguous(0).Descriptor(), "park resend"},
	} {
		if got := strings.Join(EnumWords(test.enum), " "); got != test.want {
			t.Errorf("%s: %s, want %s", test.enum.Name(), got, test.want)
		}
	}
}
