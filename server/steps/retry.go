package steps

import (
	"math/rand/v2"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

const (
	defaultCall     = 30 * time.Second
	defaultAttempts = 3
	defaultInitial  = time.Second
	defaultMaxWait  = time.Minute
)

// patience is how often and how long a call is tried.
type patience struct {
	retry    *jv1.Retry
	attempts int32
	last     time.Time // no attempt begins later; zero: no bound
	deadline time.Time // of all attempts; zero: none
	timed    bool      // the step says how long it may take
}

// patienceOf reads the bounds of a step's call. Begun is when its first attempt was made.
func patienceOf(retry *jv1.Retry, repeat bool, begun, deadline time.Time, timed bool) patience {
	p := patience{retry: retry, attempts: retry.GetAttempts(), deadline: deadline, timed: timed}
	if p.attempts == 0 {
		p.attempts = 1
		if repeat {
			p.attempts = defaultAttempts
		}
	}
	if d := retry.GetBudget(); d != nil {
		p.last = begun.Add(d.AsDuration())
	}
	return p
}

// limit is how long one attempt may take: 30 s, and never longer than all of them have left. A step whose only attempt
// this is, and that says how long it may take, gives it all of that.
func (p patience) limit(now time.Time) time.Duration {
	limit := defaultCall
	if p.deadline.IsZero() {
		return limit
	}
	left := p.deadline.Sub(now)
	if p.attempts == 1 && p.timed {
		return left
	}
	return min(limit, left)
}

// again tells when to try again after attempt n, and whether it may be: there is an attempt left, and it would begin in
// time.
func (p patience) again(now time.Time, n int32, after time.Duration) (wake time.Time, ok bool) {
	wake = now.Add(max(after, p.backoff(n)))
	return wake, n < p.attempts && p.open(wake)
}

// open tells whether an attempt may begin at a time.
func (p patience) open(at time.Time) bool {
	return !reached(at, p.deadline) && (p.last.IsZero() || !at.After(p.last))
}

// over says in words which bound an attempt at a time would break.
func (p patience) over(at time.Time) string {
	if !p.last.IsZero() && at.After(p.last) && !reached(at, p.deadline) {
		return "the time for retries is up"
	}
	return "the step's time is up"
}

// backoff is how long to wait after failed attempt n: exponential, with up to half of it at random.
func (p patience) backoff(n int32) time.Duration {
	initial, limit := defaultInitial, defaultMaxWait
	if d := p.retry.GetInitial(); d != nil {
		initial = d.AsDuration()
	}
	if d := p.retry.GetMax(); d != nil {
		limit = d.AsDuration()
	}
	d := initial
	for range n - 1 {
		if d *= 2; d >= limit {
			break
		}
	}
	d = min(d, limit)
	return d/2 + rand.N(d/2+1)
}
