package runbooks

import (
	"fmt"
	"maps"
	"slices"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Shortage says in words what of a service's demand one of its providers can't take, as far as limits are known: a
// standby with a tenth of the quota is the second outage. Empty: nothing.
func Shortage(s *jv1.Service, provider string) string {
	demand, limits := s.GetDemand(), providerOf(s, provider).GetLimits()
	for _, x := range []struct {
		unit          string
		demand, limit int64
	}{
		{"tokens per minute", demand.GetTpm(), limits.GetTpm()},
		{"requests per minute", demand.GetRpm(), limits.GetRpm()},
		{"requests in flight", demand.GetConcurrency(), limits.GetConcurrency()},
	} {
		if x.limit > 0 && x.limit < x.demand {
			return fmt.Sprintf("%s takes %d %s at its peak and %s can take %d", s.GetName(), x.demand, x.unit, provider, x.limit)
		}
	}
	return ""
}

// KeepsModels tells whether only a provider with the very same models may serve: the service says so, or it embeds.
func KeepsModels(s *jv1.Service) bool {
	return s.GetSameModels() || slices.Contains(s.GetNeeds(), "embeddings")
}

// OtherModels says in words which model of a service would be another one at a provider than at the preferred one,
// where that matters. Two names are taken for one model when they are the same, or when the provider says that it has
// the very models which the application names. Empty: none.
func OtherModels(s *jv1.Service, provider string) string {
	if !KeepsModels(s) || len(s.GetProviders()) == 0 {
		return ""
	}
	preferred, target := s.GetProviders()[0], providerOf(s, provider)
	all := map[string]bool{}
	for _, m := range s.GetMatch().GetModels() {
		all[m] = true
	}
	for _, p := range []*jv1.ServiceProvider{preferred, target} {
		for m := range p.GetModels() {
			all[m] = true
		}
	}
	for _, m := range slices.Sorted(maps.Keys(all)) {
		if here, there := modelAt(preferred, m), modelAt(target, m); here != there {
			return fmt.Sprintf("%s is %s at %s and %s at %s", m, here, preferred.GetName(), there, provider)
		}
	}
	return ""
}

// modelAt is the model that a name of the application stands for at a provider.
func modelAt(p *jv1.ServiceProvider, model string) string {
	if other := p.GetModels()[model]; other != "" && !p.GetSameModels() {
		return other
	}
	return model
}

func providerOf(s *jv1.Service, name string) *jv1.ServiceProvider {
	for _, p := range s.GetProviders() {
		if p.GetName() == name {
			return p
		}
	}
	return nil
}
