package runbooks

import (
	"net/url"
	"slices"
	"strings"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// reservedProviders stand for providers in runbooks and can't be the name of one.
var reservedProviders = []string{"active", "preferred", "any"}

// ValidateProvider finds what is wrong with a provider.
func ValidateProvider(p *jv1.Provider) (problems []*jv1.Problem, warnings []string) {
	r := newReport("provider", p.GetName(), nil)
	validateProvider(r, p)
	return r.problems, r.warnings
}

func validateProvider(r *report, p *jv1.Provider) {
	if p == nil {
		r.problem("", "must be given")
		return
	}
	r.rules(p)
	if slices.Contains(reservedProviders, p.GetName()) {
		r.problem("name", "%s stands for a provider in runbooks and can't be the name of one", p.GetName())
	}
	if problem := templateAddressProblem(p.GetBaseUrl()); problem != "" {
		r.problem("base_url", "%s", problem)
	} else if u, err := url.Parse(p.GetBaseUrl()); err == nil && (u.RawQuery != "" || u.Fragment != "" || u.ForceQuery) {
		r.problem("base_url", "a base address has no query and no fragment: use query")
	}
	for _, name := range names(p.GetHeaders()) {
		problem := headerProblem(name)
		if problem == "" && strings.EqualFold(name, p.GetAuthHeader()) {
			problem = "this header carries the credential"
		}
		if problem != "" {
			r.problem(quoted("headers", name), "%s", problem)
		}
	}
	for _, name := range names(p.GetQuery()) {
		if name == "" {
			r.problem(quoted("query", name), "a query parameter needs a name")
		}
	}
	if p.GetAuthHeader() != "" && p.GetCredential() == "" {
		r.warn("auth_header has no effect without a credential")
	}
}
