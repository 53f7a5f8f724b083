package cli

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func TestAge(t *testing.T) {
	for _, test := range []struct {
		d    time.Duration
		want string
	}{
		{-time.Hour, "0s"},
		{0, "0s"},
		{999 * time.Millisecond, "0s"},
		{119 * time.Second, "119s"},
		{2 * time.Minute, "2m"},
		{2*time.Minute + 5*time.Second, "2m5s"},
		{10*time.Minute + 59*time.Second, "10m"},
		{179 * time.Minute, "179m"},
		{3 * time.Hour, "3h"},
		{3*time.Hour + 7*time.Minute, "3h7m"},
		{47*time.Hour + 59*time.Minute, "47h"},
		{48 * time.Hour, "2d"},
		{400 * 24 * time.Hour, "400d"},
	} {
		if got := age(test.d); got != test.want {
			t.Errorf("age of %s is %q, want %q", test.d, got, test.want)
		}
	}
}

func TestMoments(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	at := func(times string) *App {
		return &App{Process: Process{Now: func() time.Time { return now }}, flags: globalFlags{times: times}}
	}
	then := timestamppb.New(now.Add(-5 * time.Minute))
	for _, test := range []struct {
		got, want string
	}{
		{at("relative").moment(then), "5m"},
		{at("utc").moment(then), "2026-11-22T02:55:00Z"},
		{at("relative").moment(nil), "-"},
		{at("relative").momentInFull(then), "2026-11-22T02:55:00Z (5m ago)"},
		{at("utc").momentInFull(then), "2026-11-22T02:55:00Z"},
		{at("relative").momentInFull(nil), "-"},
		{at("relative").ago(now.Add(time.Hour)), "in 60m"},
		{at("relative").ago(now.Add(500 * time.Millisecond)), "0s ago"},
		{at("relative").ago(time.Time{}), "at an unknown time"},
	} {
		if test.got != test.want {
			t.Errorf("shown as %q, want %q", test.got, test.want)
		}
	}
}

func TestWord(t *testing.T) {
	for _, test := range []struct {
		got, want string
	}{
		{word(jv1.Phase_PHASE_FAILED_OVER), "FAILED_OVER"},
		{word(jv1.Phase_PHASE_UNSPECIFIED), ""},
		{word(jv1.OpenAiProbeLevel_OPEN_AI_PROBE_LEVEL_MODELS), "MODELS"},
		{word(jv1.Phase(99)), "99"},
		{lower("FAILED_OVER"), "failed over"},
		{pairs(map[string]int{"b": 2, "a": 1}), "a=1, b=2"},
		{count(1, "run", "runs"), "1 run"},
		{count(0, "run", "runs"), "0 runs"},
	} {
		if test.got != test.want {
			t.Errorf("shown as %q, want %q", test.got, test.want)
		}
	}
}
