package demo

import (
	"bytes"
	"fmt"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/library"
	"github.com/jurymast/jurymast/runbooks/manifest"
)

const (
	primary = "primary"
	standby = "standby"
)

// catalogFile is what an operator would write for this, with timings for people who watch: the defaults are probes
// every 15 s, 15 s of agreement, and 30 min of health before anything goes back.
const catalogFile = `kind: Provider
name: primary
base_url: %s
---
kind: Provider
name: standby
base_url: %s
---
kind: Service
name: chat
match: {paths: [/v1/chat/completions]}
providers: [{name: primary}, {name: standby}]
health:
  failing: {agree: 1, for: 1s}   # one daemon, one kind of probe: one class must do
  recovered_after: 3s
---
kind: Detector
name: chat-probe
service: chat
http: {path: /models, interval: 0.5s, timeout: 0.4s, failures: 2, successes: 2, jitter: 0.1}
---
kind: Channel
name: oncall
log: {}
`

// confirmation is the line of the shipped runbook that an operator uncomments once there is a probe of that name.
const confirmation = "# confirm: {detector: chat-probe,"

// catalog returns everything the demo applies: the file above, and the runbooks as they are shipped, with the switch
// confirmed by our probe.
func catalog(first, second *provider) ([]*jv1.Resource, error) {
	files := map[string][]byte{"demo.yaml": fmt.Appendf(nil, catalogFile, first.baseURL(), second.baseURL())}
	order := []string{"demo.yaml"}
	for _, name := range []string{"ai-provider-outage", "fail-back"} {
		src, err := library.Read(name)
		if err != nil {
			return nil, fmt.Errorf("read the shipped runbook %s: %w", name, err)
		}
		files[name] = bytes.Replace(src, []byte(confirmation), []byte(confirmation[2:]), 1)
		order = append(order, name)
	}
	var out []*jv1.Resource
	for _, name := range order {
		docs, err := manifest.Parse(name, files[name])
		if err != nil {
			return nil, err
		}
		for _, d := range docs {
			out = append(out, d.Resource)
		}
	}
	return out, nil
}
