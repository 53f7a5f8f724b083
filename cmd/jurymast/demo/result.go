package demo

import (
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Result is what the demo measured. Times are in milliseconds.
type Result struct {
	// DetectionMS is from the moment the primary was made to hang until it was judged FAILING.
	DetectionMS int64 `json:"detection_ms"`
	// SwitchMS is from that judgement until the application had the new route in force.
	SwitchMS int64 `json:"switch_ms"`
	// OutageSeenByClientMS is from the application's first failed request until its next answer.
	OutageSeenByClientMS int64 `json:"outage_seen_by_client_ms"`
	// RequestsTotal counts the application's requests.
	RequestsTotal int `json:"requests_total"`
	// RequestsFailed counts those that were answered badly or not in time.
	RequestsFailed int `json:"requests_failed"`
	// RequestsHeld counts those the application held while queueing was on and that were answered later.
	RequestsHeld int `json:"requests_held"`
	// Notifications counts the delivered ones.
	Notifications int `json:"notifications"`
	// RunID is the run that switched away from the hanging primary.
	RunID string `json:"run_id"`
	// TerminalState is how that run ended.
	TerminalState string `json:"terminal_state"`
	// RestartMS is from the restart after kill -9 until the server served again.
	RestartMS int64 `json:"restart_ms"`
	// AnsweredWhileDown counts the application's requests that were answered while the server was dead.
	AnsweredWhileDown int `json:"answered_while_down"`
	// Phase is the phase of the service at the end.
	Phase string `json:"phase"`
	// TotalMS is how long all of it took.
	TotalMS int64 `json:"total_ms"`
	// Problems says what did not happen as it should have. Empty: everything did.
	Problems []string `json:"problems,omitempty"`
}

func ms(d time.Duration) int64 { return d.Milliseconds() }

// print ends the show with what was measured, and with what was not shown.
func (r *Result) print(t *timeline, c counts) {
	t.plain("")
	t.plain("Detected %.1fs after the primary began to hang; route in force at the application %d ms later.", float64(r.DetectionMS)/1000, r.SwitchMS)
	t.plain("The application saw %.1fs of outage, then answers from the standby; its objective is 2 minutes.", float64(r.OutageSeenByClientMS)/1000)
	t.plain("While the server was dead after kill -9, %d requests were answered; restarted, it served after %d ms, and the run went on where it stood.", r.AnsweredWhileDown, r.RestartMS)
	t.plain("Requests %d: answered %d (primary %d, standby %d), of these held while nobody served and delivered later %d; failed %d; still held %d.",
		c.total, c.answered, c.byName[primary], c.byName[standby], c.late, c.failed, c.held)
	t.plain("Slowest answer %.1fs. Notifications delivered %d. Run %s %s.", c.longest.Seconds(), r.Notifications, r.RunID, r.TerminalState)
	for _, p := range r.Problems {
		t.plain("PROBLEM: %s", p)
	}
	t.plain("Not shown: real providers, several replicas, the loss of a disk, requests that fail over by themselves (that is the gateway's work).")
}

func ended(r *jv1.Run) bool { return r.GetEndTime() != nil }
