package client

import (
	"fmt"
	"testing"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func TestPickGivesEveryProviderItsShare(t *testing.T) {
	for _, tc := range []struct {
		weights map[string]int32
		want    map[string]int
	}{
		{nil, map[string]int{"azure": 100}},
		{map[string]int32{"openai": 5}, map[string]int{"openai": 5, "azure": 95}},
		{map[string]int32{"openai": 5, "vllm": 20}, map[string]int{"openai": 5, "vllm": 20, "azure": 75}},
		{map[string]int32{"openai": 99}, map[string]int{"openai": 99, "azure": 1}},
		{map[string]int32{"openai": -3, "vllm": 10}, map[string]int{"vllm": 10, "azure": 90}},
	} {
		s := State{ContinuityState: &jv1.ContinuityState{ActiveProvider: "azure", Weights: tc.weights}}
		got := map[string]int{}
		for draw := range 100 {
			got[s.pick(draw)]++
		}
		if fmt.Sprint(got) != fmt.Sprint(tc.want) {
			t.Errorf("%v: %v, want %v", tc.weights, got, tc.want)
		}
	}
	s := State{ContinuityState: &jv1.ContinuityState{ActiveProvider: "azure", Weights: map[string]int32{"openai": 50}}}
	got := map[string]int{}
	for range 1000 {
		got[s.Pick()]++
	}
	if len(got) != 2 || got["openai"] < 350 || got["openai"] > 650 { // ten standard deviations
		t.Errorf("at random: %v", got)
	}
	if p := (State{}).Pick(); p != "" {
		t.Errorf("of nothing: %q", p)
	}
}
