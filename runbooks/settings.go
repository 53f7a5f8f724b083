package runbooks

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

const (
	// SettingsName is the name of the only settings.
	SettingsName = "default"
	// DefaultSwitchCount is how many switches machines may make within the window when the settings don't say.
	DefaultSwitchCount = 10
	// DefaultSwitchWindow is the window when the settings don't say.
	DefaultSwitchWindow = 5 * time.Minute
)

// ValidateSettings finds what is wrong with settings.
func ValidateSettings(s *jv1.Settings) (problems []*jv1.Problem, warnings []string) {
	r := newReport("settings", s.GetName(), nil)
	validateSettings(r, s)
	return r.problems, r.warnings
}

func validateSettings(r *report, s *jv1.Settings) {
	if s == nil {
		r.problem("", "must be given")
		return
	}
	r.rules(s)
}

// EffectiveSettings returns a copy of settings in which what may be left out is said; of nil the defaults.
func EffectiveSettings(s *jv1.Settings) *jv1.Settings {
	out := &jv1.Settings{Name: SettingsName}
	if s != nil {
		out = proto.CloneOf(s)
	}
	if out.SwitchLimit == nil {
		out.SwitchLimit = &jv1.SwitchLimit{}
	}
	if out.SwitchLimit.Count == 0 {
		out.SwitchLimit.Count = DefaultSwitchCount
	}
	if out.SwitchLimit.Window == nil {
		out.SwitchLimit.Window = durationpb.New(DefaultSwitchWindow)
	}
	return out
}
