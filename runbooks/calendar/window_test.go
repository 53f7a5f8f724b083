package calendar

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// TestOpen asks at moments, and for the change that is told then.
func TestOpen(t *testing.T) {
	stamp := func(text string) *timestamppb.Timestamp { return timestamppb.New(at(t, text)) }
	once := &jv1.Maintenance{Start: stamp("2026-03-01T22:00:00Z"), End: stamp("2026-03-02T02:00:00Z")}
	nightly := &jv1.Maintenance{Cron: "0 23 * * *", Duration: durationpb.New(2 * time.Hour)}
	bounded := &jv1.Maintenance{
		Cron: "0 23 * * *", Duration: durationpb.New(2 * time.Hour),
		Start: stamp("2026-03-01T00:30:00Z"), End: stamp("2026-03-03T00:30:00Z"),
	}
	touching := &jv1.Maintenance{Cron: "0 8-11 * * *", Duration: durationpb.New(time.Hour)}
	berlin := &jv1.Maintenance{Cron: "30 2 * * *", TimeZone: "Europe/Berlin", Duration: durationpb.New(30 * time.Minute)}
	for name, c := range map[string]struct {
		window *jv1.Maintenance
		now    string
		open   bool
		change string // empty: never
	}{
		"once, before":          {once, "2026-03-01T21:59:59Z", false, "2026-03-01T22:00:00Z"},
		"once, at start":        {once, "2026-03-01T22:00:00Z", true, "2026-03-02T02:00:00Z"},
		"once, at end":          {once, "2026-03-02T02:00:00Z", false, ""},
		"nightly, before":       {nightly, "2026-03-01T22:59:59Z", false, "2026-03-01T23:00:00Z"},
		"nightly, at start":     {nightly, "2026-03-01T23:00:00Z", true, "2026-03-02T01:00:00Z"},
		"nightly, at end":       {nightly, "2026-03-02T01:00:00Z", false, "2026-03-02T23:00:00Z"},
		"bounded, long before":  {bounded, "2026-01-01T00:00:00Z", false, "2026-03-01T00:30:00Z"},
		"bounded, cut start":    {bounded, "2026-03-01T00:10:00Z", false, "2026-03-01T00:30:00Z"},
		"bounded, in the first": {bounded, "2026-03-01T00:30:00Z", true, "2026-03-01T01:00:00Z"},
		"bounded, between":      {bounded, "2026-03-01T12:00:00Z", false, "2026-03-01T23:00:00Z"},
		"bounded, cut end":      {bounded, "2026-03-02T23:30:00Z", true, "2026-03-03T00:30:00Z"},
		"bounded, over":         {bounded, "2026-03-03T00:30:00Z", false, ""},
		"touching":              {touching, "2026-03-01T09:30:00Z", true, "2026-03-01T12:00:00Z"},
		"touching, after":       {touching, "2026-03-01T12:00:00Z", false, "2026-03-02T08:00:00Z"},
		"in a gap, before":      {berlin, "2026-03-29T00:59:00Z", false, "2026-03-29T01:00:00Z"},
		"in a gap":              {berlin, "2026-03-29T01:00:00Z", true, "2026-03-29T01:30:00Z"},
		"twice, second time":    {berlin, "2026-10-25T01:30:00Z", false, "2026-10-26T01:30:00Z"},
		"nothing said":          {&jv1.Maintenance{}, "2026-03-01T00:00:00Z", false, ""},
		"no duration":           {&jv1.Maintenance{Cron: "@daily"}, "2026-03-01T00:00:00Z", false, ""},
		"unreadable":            {&jv1.Maintenance{Cron: "?", Duration: durationpb.New(time.Hour)}, "2026-03-01T00:00:00Z", false, ""},
		"never":                 {&jv1.Maintenance{Cron: "0 0 30 2 *", Duration: durationpb.New(time.Hour)}, "2026-03-01T00:00:00Z", false, ""},
		"ends before it begins": {&jv1.Maintenance{Start: once.GetEnd(), End: once.GetStart()}, "2026-03-01T23:00:00Z", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			open, change := Open(c.window, at(t, c.now))
			want := time.Time{}
			if c.change != "" {
				want = at(t, c.change)
			}
			if open != c.open || !change.Equal(want) {
				t.Errorf("open %v until %v, want %v until %v", open, change, c.open, want)
			}
		})
	}
}

// TestOpenWithoutEnd follows windows that run into each other for ever: the change is ahead, so that whoever waits for
// it makes progress.
func TestOpenWithoutEnd(t *testing.T) {
	now := at(t, "2026-03-01T00:00:00Z")
	open, change := Open(&jv1.Maintenance{Cron: "@hourly", Duration: durationpb.New(time.Hour)}, now)
	if !open || change.Before(now.Add(24*time.Hour)) {
		t.Errorf("open %v until %v", open, change)
	}
}

// TestOpenAgrees holds what is said at one moment to what is said at every minute of three days.
func TestOpenAgrees(t *testing.T) {
	for _, m := range []*jv1.Maintenance{
		{Cron: "*/7 1-3,22 * * *", TimeZone: "Europe/Berlin", Duration: durationpb.New(5 * time.Minute)},
		{Cron: "30 2 * * *", TimeZone: "Australia/Lord_Howe", Duration: durationpb.New(90 * time.Minute)},
		{Cron: "@daily", TimeZone: "America/New_York", Duration: durationpb.New(23 * time.Hour), Start: timestamppb.New(at(t, "2026-03-28T12:00:00Z"))},
	} {
		now := at(t, "2026-03-28T00:00:00Z")
		open, change := Open(m, now)
		for range 3 * 24 * 60 {
			now = now.Add(time.Minute)
			is, next := Open(m, now)
			if now.Before(change) == (is != open) {
				t.Fatalf("%v at %v: open is %v, and %v was told to change at %v", m, now, is, open, change)
			}
			open, change = is, next
		}
	}
}

func TestCovers(t *testing.T) {
	for name, c := range map[string]struct {
		window            *jv1.Maintenance
		service, provider string
		want              bool
	}{
		"all":                     {&jv1.Maintenance{}, "chat", "openai", true},
		"all, the service":        {&jv1.Maintenance{}, "chat", "", true},
		"service":                 {&jv1.Maintenance{Services: []string{"chat"}}, "chat", "openai", true},
		"another service":         {&jv1.Maintenance{Services: []string{"chat"}}, "video", "openai", false},
		"provider":                {&jv1.Maintenance{Providers: []string{"openai"}}, "video", "openai", true},
		"another provider":        {&jv1.Maintenance{Providers: []string{"openai"}}, "video", "vllm", false},
		"provider of the service": {&jv1.Maintenance{Services: []string{"chat"}, Providers: []string{"openai"}}, "video", "openai", false},
		"provider, the service":   {&jv1.Maintenance{Providers: []string{"openai"}}, "video", "", false},
	} {
		if got := Covers(c.window, c.service, c.provider); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
