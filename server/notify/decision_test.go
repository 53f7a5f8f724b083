package notify

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func TestNext(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	self := &jv1.Owner{Session: "s/me", Token: 7}
	live := map[string]int64{"s/me": 7, "s/other": 9}
	by := func(session string, token int64) *recordv1.Delivery {
		return &recordv1.Delivery{Owner: &jv1.Owner{Session: session, Token: token}}
	}
	in := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(d)) }
	for _, test := range []struct {
		name   string
		n      *jv1.Notification
		d      *recordv1.Delivery
		self   *jv1.Owner
		action Action
		reason Reason
		wait   time.Duration
	}{
		{name: "delivered", n: &jv1.Notification{State: jv1.DeliveryState_DELIVERY_STATE_DELIVERED}, self: self, action: Leave, reason: ReasonDelivered},
		{name: "delivered, with a claim left", n: &jv1.Notification{State: jv1.DeliveryState_DELIVERY_STATE_DELIVERED}, d: by("s/me", 7), self: self, action: Leave, reason: ReasonDelivered},
		{name: "dead", n: &jv1.Notification{State: jv1.DeliveryState_DELIVERY_STATE_DEAD}, self: self, action: Leave, reason: ReasonDead},
		{name: "no session", n: &jv1.Notification{}, action: Leave, reason: ReasonNoSession},
		{name: "no session, ours before", n: &jv1.Notification{}, d: by("s/me", 7), action: Leave, reason: ReasonNoSession},
		{name: "unclaimed", n: &jv1.Notification{}, self: self, action: Claim, reason: ReasonUnclaimed},
		{name: "claim without an owner", n: &jv1.Notification{}, d: &recordv1.Delivery{}, self: self, action: Claim, reason: ReasonUnclaimed},
		{name: "ours", n: &jv1.Notification{State: jv1.DeliveryState_DELIVERY_STATE_PENDING}, d: by("s/me", 7), self: self, action: Send, reason: ReasonOurs},
		{name: "ours of an earlier life under the same key", n: &jv1.Notification{}, d: by("s/me", 6), self: self, action: Claim, reason: ReasonOrphaned},
		{name: "another's", n: &jv1.Notification{}, d: by("s/other", 9), self: self, action: Leave, reason: ReasonOwned},
		{name: "another's, whose key was made again", n: &jv1.Notification{}, d: by("s/other", 8), self: self, action: Claim, reason: ReasonOrphaned},
		{name: "a dead one's", n: &jv1.Notification{}, d: by("s/gone", 3), self: self, action: Claim, reason: ReasonOrphaned},
		{name: "ours, later", n: &jv1.Notification{Attempts: 1, NextAttempt: in(time.Minute)}, d: by("s/me", 7), self: self, action: Wait, reason: ReasonNotDue, wait: time.Minute},
		{name: "ours, now", n: &jv1.Notification{Attempts: 1, NextAttempt: in(0)}, d: by("s/me", 7), self: self, action: Send, reason: ReasonOurs},
		{name: "ours, overdue", n: &jv1.Notification{Attempts: 1, NextAttempt: in(-time.Hour)}, d: by("s/me", 7), self: self, action: Send, reason: ReasonOurs},
		{name: "orphaned, later", n: &jv1.Notification{Attempts: 1, NextAttempt: in(time.Minute)}, d: by("s/gone", 3), self: self, action: Wait, reason: ReasonNotDue, wait: time.Minute},
		{name: "another's, later", n: &jv1.Notification{Attempts: 1, NextAttempt: in(time.Minute)}, d: by("s/other", 9), self: self, action: Leave, reason: ReasonOwned},
		{name: "never tried, by a clock that was ahead", n: &jv1.Notification{NextAttempt: in(time.Minute)}, d: by("s/gone", 3), self: self, action: Claim, reason: ReasonOrphaned},
		{name: "by a clock that was a day ahead", n: &jv1.Notification{Attempts: 1, NextAttempt: in(24 * time.Hour)}, d: by("s/me", 7), self: self, action: Send, reason: ReasonOurs},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := Next(Situation{Notification: test.n, Delivery: test.d, Live: live, Self: test.self, Now: now})
			want := Decision{Action: test.action, Reason: test.reason}
			if test.wait != 0 {
				want.At = now.Add(test.wait)
			}
			if got != want {
				t.Errorf("decided %+v, want %+v", got, want)
			}
		})
	}
}

func TestAfterAnAttempt(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	fails := errors.New("no answer")
	for _, test := range []struct {
		name     string
		age      time.Duration
		attempts int32
		failure  *Failure
		state    jv1.DeliveryState
		next     time.Duration
	}{
		{"taken", time.Second, 0, nil, jv1.DeliveryState_DELIVERY_STATE_DELIVERED, 0},
		{"taken late", 48 * time.Hour, 900, nil, jv1.DeliveryState_DELIVERY_STATE_DELIVERED, 0},
		{"first failure", time.Second, 0, &Failure{Err: fails}, jv1.DeliveryState_DELIVERY_STATE_PENDING, 750 * time.Millisecond},
		{"third failure", time.Second, 2, &Failure{Err: fails}, jv1.DeliveryState_DELIVERY_STATE_PENDING, 3 * time.Second},
		{"many failures", time.Hour, 20, &Failure{Err: fails}, jv1.DeliveryState_DELIVERY_STATE_PENDING, 225 * time.Second},
		{"asked for patience", time.Second, 0, &Failure{Err: fails, RetryAfter: time.Minute}, jv1.DeliveryState_DELIVERY_STATE_PENDING, time.Minute},
		{"for good", time.Second, 0, &Failure{Err: fails, Permanent: true}, jv1.DeliveryState_DELIVERY_STATE_DEAD, 0},
		{"a day old", 24 * time.Hour, 300, &Failure{Err: fails}, jv1.DeliveryState_DELIVERY_STATE_DEAD, 0},
		{"not quite a day old", 24*time.Hour - time.Second, 300, &Failure{Err: fails}, jv1.DeliveryState_DELIVERY_STATE_PENDING, 225 * time.Second},
		{"of unknown age", -1, 0, &Failure{Err: fails}, jv1.DeliveryState_DELIVERY_STATE_PENDING, 750 * time.Millisecond},
		{"of unknown age, often tried", -1, maxAttempts - 1, &Failure{Err: fails}, jv1.DeliveryState_DELIVERY_STATE_DEAD, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := &jv1.Notification{Name: "n", Attempts: test.attempts, LastError: "earlier", NextAttempt: timestamppb.New(now)}
			if test.age >= 0 {
				n.CreateTime = timestamppb.New(now.Add(-test.age))
			}
			before := proto.CloneOf(n)
			got := after(n, "ok", test.failure, now, 0.5)
			if !proto.Equal(n, before) {
				t.Error("the given notification was changed")
			}
			if got.GetState() != test.state || got.GetAttempts() != test.attempts+1 {
				t.Errorf("%v after %d attempts, want %v", got.GetState(), got.GetAttempts(), test.state)
			}
			if has := got.GetEndTime() != nil; has != ended(got) {
				t.Errorf("end time %v", got.GetEndTime())
			}
			var next time.Duration
			if got.GetNextAttempt() != nil {
				next = got.GetNextAttempt().AsTime().Sub(now)
			}
			if next != test.next {
				t.Errorf("next attempt in %s, want %s", next, test.next)
			}
			wantError, wantReceipt := "no answer", ""
			if test.failure == nil {
				wantError, wantReceipt = "", "ok"
			}
			if got.GetLastError() != wantError || got.GetReceipt() != wantReceipt {
				t.Errorf("last error %q, receipt %q", got.GetLastError(), got.GetReceipt())
			}
		})
	}
}

func TestDelayStaysInItsBounds(t *testing.T) {
	for attempts := int32(-1); attempts < 2000; attempts++ {
		for _, chance := range []float64{0, 0.5, 0.999} {
			for _, asked := range []time.Duration{0, time.Hour} {
				d := delay(attempts, asked, chance)
				if d < firstDelay/2 || d > maxRetryAfter || asked == 0 && d > maxDelay {
					t.Fatalf("delay(%d, %s, %g) = %s", attempts, asked, chance, d)
				}
			}
		}
	}
}
