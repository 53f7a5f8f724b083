package notify

import "time"

// The schedule of attempts. The first ones follow closely: what is told is urgent, and most failures are short.
const (
	// firstDelay is the delay after the first failed attempt; it doubles with each further one.
	firstDelay = time.Second
	// maxDelay is the longest delay of our own.
	maxDelay = 5 * time.Minute
	// maxRetryAfter is the longest delay a receiver can ask for.
	maxRetryAfter = 15 * time.Minute
	// giveUp is the age at which a notification is given up: what was urgent then is history now.
	giveUp = 24 * time.Hour
	// maxAttempts bounds the attempts of a notification whose age is not known; 24 h hold about 300.
	maxAttempts = 1000
)

// delay is how long to wait after the given number of failed attempts (1 or more). chance, from 0 to below 1, spreads
// it over the upper half, so that what failed together doesn't come back together; a receiver's wish is a minimum.
func delay(attempts int32, asked time.Duration, chance float64) time.Duration {
	d := maxDelay
	if doublings := attempts - 1; doublings < 16 {
		d = min(firstDelay<<max(doublings, 0), maxDelay)
	}
	d = d/2 + time.Duration(chance*float64(d/2))
	return max(d, min(asked, maxRetryAfter))
}
