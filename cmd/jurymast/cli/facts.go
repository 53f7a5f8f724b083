package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/jurymast/jurymast/client"
)

// facts is what a followed state means to an application in any language. The names are part of the interface.
type facts struct {
	Service          string           `json:"service"`
	Provider         string           `json:"provider"`
	PreviousProvider string           `json:"previous_provider,omitempty"`
	Providers        []string         `json:"providers,omitempty"`
	Weights          map[string]int32 `json:"weights,omitempty"`
	Queueing         bool             `json:"queueing"`
	Phase            string           `json:"phase"`
	Epoch            int64            `json:"epoch"`
	RestoreEpoch     string           `json:"restore_epoch,omitempty"`
	Since            string           `json:"since,omitempty"`
	Reason           string           `json:"reason,omitempty"`
	Run              string           `json:"run,omitempty"`
	Live             *bool            `json:"live,omitempty"`
	Deleted          bool             `json:"deleted,omitempty"`
}

func factsOf(service string, s client.State, ok bool) facts {
	if !ok {
		return facts{Service: service, Deleted: true}
	}
	f := facts{
		Service: service, Provider: s.GetActiveProvider(), PreviousProvider: s.GetPreviousProvider(), Providers: s.GetProviders(),
		Weights: s.GetWeights(), Queueing: s.GetQueueing(), Phase: word(s.GetPhase()), Epoch: s.GetEpoch(), RestoreEpoch: s.GetRestoreEpoch(),
		Reason: s.GetReason(), Run: s.GetRun(), Live: &s.Live,
	}
	if s.GetSince().IsValid() {
		f.Since = s.GetSince().AsTime().UTC().Format(time.RFC3339)
	}
	return f
}

// environment returns the facts as NAME=value; with named, the service's name is one of them, otherwise it is part of
// the prefix.
func (f facts) environment(prefix string, named bool) []string {
	values := []struct{ name, value string }{
		{"PROVIDER", f.Provider},
		{"PREVIOUS_PROVIDER", f.PreviousProvider},
		{"QUEUEING", strconv.FormatBool(f.Queueing)},
		{"PHASE", f.Phase},
		{"EPOCH", strconv.FormatInt(f.Epoch, 10)},
		{"SINCE", f.Since},
		{"REASON", oneLine(f.Reason)},
		{"RUN", f.Run},
	}
	var out []string
	if named {
		out = append(out, prefix+"SERVICE="+f.Service, prefix+"LIVE="+strconv.FormatBool(f.Live != nil && *f.Live), prefix+"DELETED="+strconv.FormatBool(f.Deleted))
	} else {
		prefix += strings.ToUpper(strings.ReplaceAll(f.Service, "-", "_")) + "_"
	}
	for _, v := range values {
		out = append(out, prefix+v.name+"="+v.value)
	}
	return out
}

func (f facts) line() ([]byte, error) {
	b, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	return append(b, '\n'), nil
}

// render writes the file of all followed services.
func render(format string, t *template.Template, all []facts) ([]byte, error) {
	var b bytes.Buffer
	switch format {
	case "env":
		for _, f := range all {
			for _, line := range f.environment("JURYMAST_", false) {
				name, value, _ := strings.Cut(line, "=")
				b.WriteString(name + "=" + quoteEnv(value) + "\n")
			}
		}
	case "template":
		byName := map[string]facts{}
		for _, f := range all {
			byName[f.Service] = f
		}
		if err := t.Execute(&b, struct {
			Services []facts
			Service  map[string]facts
		}{all, byName}); err != nil {
			return nil, fmt.Errorf("the template: %w", err)
		}
	default:
		services := map[string]facts{}
		for _, f := range all {
			services[f.Service] = f
		}
		e := json.NewEncoder(&b)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		if err := e.Encode(struct {
			Services map[string]facts `json:"services"`
		}{services}); err != nil {
			return nil, fmt.Errorf("writing JSON: %w", err)
		}
	}
	return b.Bytes(), nil
}

// quoteEnv writes a value so that a shell and systemd read the same: plain where nothing is special in it, else in
// double quotes with what is special there escaped.
func quoteEnv(value string) string {
	plain := strings.IndexFunc(value, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.:/+", r)
	}) < 0
	if plain {
		return value
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(value) + `"`
}
