package nemesis

import (
	"fmt"
	"slices"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Takeovers are how long runs stood still because their owner was killed or paused: from the blow to the first event
// CLAIMED after it.
type Takeovers struct {
	// Calm are those during which nothing else happened: the bound of P16 without a change of etcd's leader.
	Calm []time.Duration
	// Rough are the others.
	Rough []time.Duration
}

// Measure measures the take-overs after all troubles. events gives the journal of a run, nil when there is none.
func Measure(troubles []Trouble, events func(run string) []*jv1.RunEvent) Takeovers {
	var out Takeovers
	for i, t := range troubles {
		if t.Act == Stop {
			continue // it hands over by itself
		}
		for _, run := range t.Owned {
			at := claimedAfter(events(run), t.Begin)
			if at.IsZero() {
				continue // it ended at the very moment
			}
			took := at.Sub(t.Begin)
			calm := true
			for j, other := range troubles {
				if i != j && other.Begin.Before(at) && other.End.After(t.Begin.Add(-calmBefore)) {
					calm = false
				}
			}
			if calm {
				out.Calm = append(out.Calm, took)
			} else {
				out.Rough = append(out.Rough, took)
			}
		}
	}
	slices.Sort(out.Calm)
	slices.Sort(out.Rough)
	return out
}

// calmBefore is how long before the blow all must have been well: connections and elections have settled.
const calmBefore = 3 * time.Second

func claimedAfter(events []*jv1.RunEvent, begin time.Time) time.Time {
	for _, ev := range events {
		if at := ev.GetTime().AsTime(); ev.GetKind() == jv1.RunEventKind_RUN_EVENT_KIND_CLAIMED && at.After(begin) {
			return at
		}
	}
	return time.Time{}
}

// Quantile of sorted times; 0 when there are none.
func Quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// Summary is one line of figures.
func Summary(sorted []time.Duration) string {
	if len(sorted) == 0 {
		return "none"
	}
	r := func(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
	return fmt.Sprintf("%d, p50 %v, p99 %v, max %v", len(sorted), r(Quantile(sorted, 0.5)), r(Quantile(sorted, 0.99)), r(sorted[len(sorted)-1]))
}
