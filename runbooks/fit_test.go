package runbooks_test

import (
	"strings"
	"testing"

	"github.com/jurymast/jurymast/runbooks"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func TestShortage(t *testing.T) {
	for name, tc := range map[string]struct {
		demand, limits *jv1.Limits
		want           string
	}{
		"nothing known":         {},
		"limits unknown":        {demand: &jv1.Limits{Tpm: 1000, Rpm: 10}},
		"demand unknown":        {limits: &jv1.Limits{Tpm: 1}},
		"another limit unknown": {demand: &jv1.Limits{Tpm: 1000}, limits: &jv1.Limits{Rpm: 1}},
		"just enough":           {demand: &jv1.Limits{Tpm: 1000, Rpm: 10}, limits: &jv1.Limits{Tpm: 1000, Rpm: 11}},
		"tokens":                {demand: &jv1.Limits{Tpm: 1000}, limits: &jv1.Limits{Tpm: 999}, want: "1000 tokens per minute at its peak and b can take 999"},
		"requests":              {demand: &jv1.Limits{Tpm: 1, Rpm: 10}, limits: &jv1.Limits{Tpm: 1, Rpm: 9}, want: "requests per minute"},
		"in flight":             {demand: &jv1.Limits{Concurrency: 64}, limits: &jv1.Limits{Concurrency: 32}, want: "requests in flight"},
	} {
		s := &jv1.Service{Name: "chat", Demand: tc.demand, Providers: []*jv1.ServiceProvider{{Name: "a"}, {Name: "b", Limits: tc.limits}}}
		if got := runbooks.Shortage(s, "b"); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestOtherModels(t *testing.T) {
	ada := map[string]string{"embed": "ada"}
	for name, tc := range map[string]struct {
		service          *jv1.Service
		preferred, other *jv1.ServiceProvider
		want             string
	}{
		"it does not matter":               {service: &jv1.Service{Needs: []string{"tools"}}, other: &jv1.ServiceProvider{Models: ada}},
		"the same names":                   {service: &jv1.Service{Needs: []string{"embeddings"}}},
		"another name":                     {service: &jv1.Service{Needs: []string{"embeddings"}}, other: &jv1.ServiceProvider{Models: ada}, want: "embed is embed at a and ada at b"},
		"another name, asked for":          {service: &jv1.Service{SameModels: true}, other: &jv1.ServiceProvider{Models: ada}, want: "embed is embed at a and ada at b"},
		"the same model by another name":   {service: &jv1.Service{SameModels: true}, other: &jv1.ServiceProvider{Models: ada, SameModels: true}},
		"the preferred one maps":           {service: &jv1.Service{SameModels: true}, preferred: &jv1.ServiceProvider{Models: ada}, want: "embed is ada at a and embed at b"},
		"both map alike":                   {service: &jv1.Service{SameModels: true}, preferred: &jv1.ServiceProvider{Models: ada}, other: &jv1.ServiceProvider{Models: ada}},
		"both have the very models":        {service: &jv1.Service{SameModels: true}, preferred: &jv1.ServiceProvider{Models: ada, SameModels: true}},
		"mapped to itself":                 {service: &jv1.Service{SameModels: true}, other: &jv1.ServiceProvider{Models: map[string]string{"embed": "embed"}}},
		"what is matched counts like keys": {service: &jv1.Service{SameModels: true, Match: &jv1.Match{Models: []string{"embed"}}}, other: &jv1.ServiceProvider{Models: ada}, want: "ada at b"},
	} {
		a, b := tc.preferred, tc.other
		if a == nil {
			a = &jv1.ServiceProvider{}
		}
		if b == nil {
			b = &jv1.ServiceProvider{}
		}
		a.Name, b.Name = "a", "b"
		tc.service.Providers = []*jv1.ServiceProvider{a, b}
		if got := runbooks.OtherModels(tc.service, "b"); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
		if got := runbooks.OtherModels(tc.service, "a"); got != "" {
			t.Errorf("%s: the preferred provider has other models than itself: %s", name, got)
		}
	}
}
