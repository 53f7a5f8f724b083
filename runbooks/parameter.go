package runbooks

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jurymast/jurymast/runbooks/expr"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// ParameterReason names why a parameter is refused.
type ParameterReason string

// The reasons.
const (
	// ParameterUnknown: the runbook declares no such parameter.
	ParameterUnknown ParameterReason = "unknown_parameter"
	// ParameterMissing: the runbook requires it, and it is not given.
	ParameterMissing ParameterReason = "missing_parameter"
	// ParameterWrongType: the value is not what its type says.
	ParameterWrongType ParameterReason = "wrong_type"
	// ParameterNotAllowed: the value is none of those that are allowed.
	ParameterNotAllowed ParameterReason = "not_allowed"
	// ParameterNoProvider: the value is not a provider of the run's service.
	ParameterNoProvider ParameterReason = "no_provider"
	// ParameterTooLong: the value is longer than any may be.
	ParameterTooLong ParameterReason = "too_long"
)

// MaxParameter is the most characters of a parameter's value.
const MaxParameter = 1000

// ParameterProblem says why the value of one parameter is refused.
type ParameterProblem struct {
	// Name of the parameter.
	Name string
	// Reason as a name.
	Reason ParameterReason
	// Message says it in words, with the parameter's name.
	Message string
}

// CheckParameters finds what is wrong with the values that a start of a runbook gives, with the runbook's defaults
// beneath, sorted by name: nil when it may start with them. Service is the run's service, by whose providers values of
// type provider are judged; with nil they are not.
func CheckParameters(rb *jv1.Runbook, service *jv1.Service, given map[string]string) []ParameterProblem {
	var problems []ParameterProblem
	refuse := func(name string, reason ParameterReason, format string, args ...any) {
		problems = append(problems, ParameterProblem{
			Name: name, Reason: reason, Message: fmt.Sprintf("parameter %s: ", name) + fmt.Sprintf(format, args...),
		})
	}
	all := maps.Clone(given)
	if all == nil {
		all = map[string]string{}
	}
	for name, p := range rb.GetParameters() {
		if _, ok := all[name]; !ok && (p.GetDefault() != "" || p.GetRequired()) {
			all[name] = p.GetDefault()
		}
	}
	for _, name := range names(all) {
		value := all[name]
		p, declared := rb.GetParameters()[name]
		switch {
		case !declared:
			refuse(name, ParameterUnknown, "runbook %s has no such parameter%s", rb.GetName(), alternatives(name, names(rb.GetParameters())))
		case value == "" && p.GetRequired():
			refuse(name, ParameterMissing, "runbook %s requires it", rb.GetName())
		default:
			if reason, text := parameterProblem(p, value); reason != "" {
				refuse(name, reason, "%s", text)
			} else if list := providerNames(service); isProvider(p) && service != nil && !slices.Contains(list, value) {
				refuse(name, ParameterNoProvider, "%s is not a provider of %s%s", value, service.GetName(), alternatives(value, list))
			}
		}
	}
	return problems
}

// parameterProblem judges a value by its declaration alone. No reason: it is good.
func parameterProblem(p *jv1.Parameter, value string) (ParameterReason, string) {
	if n := utf8.RuneCountInString(value); n > MaxParameter {
		return ParameterTooLong, fmt.Sprintf("it has %d characters, at most %d are allowed", n, MaxParameter)
	}
	if _, err := typeOf(p.GetType()).Parse(value); err != nil {
		return ParameterWrongType, err.Error()
	}
	if allowed := p.GetOneOf(); len(allowed) > 0 && !slices.Contains(allowed, value) {
		return ParameterNotAllowed, fmt.Sprintf("%q is none of %s", value, strings.Join(allowed, ", "))
	}
	return "", ""
}

func isProvider(p *jv1.Parameter) bool {
	return p.GetType() == jv1.ParameterType_PARAMETER_TYPE_PROVIDER
}

// typeOf is the type of a parameter in conditions.
func typeOf(t jv1.ParameterType) expr.Type {
	switch t {
	case jv1.ParameterType_PARAMETER_TYPE_INTEGER:
		return expr.Int
	case jv1.ParameterType_PARAMETER_TYPE_NUMBER:
		return expr.Double
	case jv1.ParameterType_PARAMETER_TYPE_BOOLEAN:
		return expr.Bool
	case jv1.ParameterType_PARAMETER_TYPE_DURATION:
		return expr.Duration
	}
	return expr.String
}

func (c *runbookCheck) checkParameters() {
	for _, name := range names(c.rb.GetParameters()) {
		p := c.rb.GetParameters()[name]
		field := quoted("parameters", name)
		if p.GetRequired() && p.GetDefault() != "" {
			c.problem(field, "a required parameter has no default: give one or the other")
		} else if p.GetRequired() && c.rb.GetOn() != nil {
			c.problem(field, "an automatic start gives no parameters: give a default instead of required")
		}
		for i, value := range p.GetOneOf() {
			c.value(at(field+".one_of", i), &jv1.Parameter{Type: p.GetType()}, value)
		}
		if p.GetDefault() != "" {
			c.value(field+".default", p, p.GetDefault())
		}
	}
}

// value checks a value that stands in the runbook itself: it must be good for every service.
func (c *runbookCheck) value(field string, p *jv1.Parameter, value string) {
	if reason, text := parameterProblem(p, value); reason != "" {
		c.problem(field, "%s", text)
	} else if isProvider(p) {
		c.provider(field, value)
	}
}
