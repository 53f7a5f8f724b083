package client

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// Pick chooses the provider for one request, at random by the weights of the state: a canary gets its share, the active
// provider the rest. Without weights it is always the active one. Use it for requests that may go anywhere; what lives at
// one provider stays there.
func (s State) Pick() string { return s.pick(rand.IntN(100)) }

// pick gives each of a hundred draws its provider.
func (s State) pick(draw int) string {
	weights := s.GetWeights()
	for _, provider := range slices.Sorted(maps.Keys(weights)) {
		if draw < int(weights[provider]) {
			return provider
		}
		draw -= max(0, int(weights[provider]))
	}
	return s.GetActiveProvider()
}
