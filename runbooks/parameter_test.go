package runbooks_test

import (
	"strings"
	"testing"

	"github.com/jurymast/jurymast/runbooks"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func TestParametersOfAStartAreJudged(t *testing.T) {
	rb := &jv1.Runbook{Name: "book", Parameters: map[string]*jv1.Parameter{
		"needed": {Required: true},
		"text":   {},
		"count":  {Type: jv1.ParameterType_PARAMETER_TYPE_INTEGER, Default: "3", OneOf: []string{"1", "3"}},
		"ratio":  {Type: jv1.ParameterType_PARAMETER_TYPE_NUMBER},
		"loud":   {Type: jv1.ParameterType_PARAMETER_TYPE_BOOLEAN},
		"pause":  {Type: jv1.ParameterType_PARAMETER_TYPE_DURATION},
		"target": {Type: jv1.ParameterType_PARAMETER_TYPE_PROVIDER, Default: "azure-eu"},
	}}
	chat := &jv1.Service{Name: "chat", Providers: []*jv1.ServiceProvider{{Name: "openai"}, {Name: "azure-eu"}}}
	for name, tc := range map[string]struct {
		given   map[string]string
		service *jv1.Service
		want    []string // name, blank, reason
	}{
		"what it needs":           {map[string]string{"needed": "x"}, chat, nil},
		"everything":              {map[string]string{"needed": "x", "count": "1", "ratio": "-1e3", "loud": "false", "pause": "2h", "target": "openai", "text": ""}, chat, nil},
		"nothing":                 {nil, chat, []string{"needed missing_parameter"}},
		"an empty required one":   {map[string]string{"needed": ""}, chat, []string{"needed missing_parameter"}},
		"what it does not have":   {map[string]string{"needed": "x", "cuont": "1"}, chat, []string{"cuont unknown_parameter"}},
		"wrong types, sorted":     {map[string]string{"needed": "x", "pause": "soon", "loud": "1", "count": "1.5", "ratio": "NaN"}, chat, []string{"count wrong_type", "loud wrong_type", "pause wrong_type", "ratio wrong_type"}},
		"empty is no number":      {map[string]string{"needed": "x", "ratio": ""}, chat, []string{"ratio wrong_type"}},
		"none of the allowed":     {map[string]string{"needed": "x", "count": "2"}, chat, []string{"count not_allowed"}},
		"another's provider":      {map[string]string{"needed": "x", "target": "vllm"}, chat, []string{"target no_provider"}},
		"a default that is gone":  {map[string]string{"needed": "x"}, &jv1.Service{Name: "solo", Providers: chat.GetProviders()[:1]}, []string{"target no_provider"}},
		"an unknown service":      {map[string]string{"needed": "x", "target": "vllm"}, nil, nil},
		"what no record can hold": {map[string]string{"needed": strings.Repeat("é", 1001)}, chat, []string{"needed too_long"}},
		"the longest":             {map[string]string{"needed": strings.Repeat("é", 1000)}, chat, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, p := range runbooks.CheckParameters(rb, tc.service, tc.given) {
				got = append(got, p.Name+" "+string(p.Reason))
				if !strings.HasPrefix(p.Message, "parameter "+p.Name+": ") {
					t.Errorf("message %q", p.Message)
				}
			}
			if strings.Join(got, ", ") != strings.Join(tc.want, ", ") {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}
