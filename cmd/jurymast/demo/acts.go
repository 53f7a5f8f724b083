package demo

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// fastReconnect finds a restarted server soon: this is a show on loopback.
var fastReconnect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: 200 * time.Millisecond},
	MinConnectTimeout: time.Second,
}

// calm shows the application at work.
func (s *show) calm(ctx context.Context) error {
	return s.answers(ctx, rate*3/2, "in calm")
}

// answers waits until the application was answered n more times.
func (s *show) answers(ctx context.Context, n int, when string) error {
	goal := s.app.counts().answered + n
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for s.app.counts().answered < goal {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the application was not answered %s: %w", when, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// hang makes the primary hang, and waits until the application is on the standby, provisionally.
func (s *show) hang(ctx context.Context) error {
	broken := time.Now()
	s.line.say(">>>", "we make %s HANG: it accepts, then sends nothing", primary)
	s.first.become(hangs)
	var judged time.Time
	if err := s.pic.until(ctx, func() bool {
		if s.is(primary, jv1.HealthState_HEALTH_STATE_FAILING) {
			judged = s.pic.health[primary].GetSince().AsTime()
		}
		return s.pic.state.GetActiveProvider() == standby && !judged.IsZero()
	}); err != nil {
		return fmt.Errorf("the route did not switch away from the hanging primary: %w", err)
	}
	for s.since(standby).IsZero() {
		if err := s.answers(ctx, 1, "after the switch"); err != nil {
			return err
		}
	}
	s.result.DetectionMS = ms(judged.Sub(broken))
	s.result.SwitchMS = ms(s.since(standby).Sub(judged))
	s.pic.mu.Lock()
	s.result.RunID = s.pic.state.GetRun()
	s.pic.mu.Unlock()
	return nil
}

// killServer kills the server while its run waits for the switch to be confirmed, and starts it again.
func (s *show) killServer(ctx context.Context) error {
	s.line.say(">>>", "we kill -9 the server (pid %d) in the middle of run %s, and make %s FAIL instead of hang", s.daemon.pid(), short(s.result.RunID), primary)
	before := s.app.counts().answered
	if err := s.daemon.kill(); err != nil {
		return err
	}
	s.first.become(answers500)
	if err := s.answers(ctx, rate, "while the server was dead"); err != nil {
		return err
	}
	s.result.AnsweredWhileDown = s.app.counts().answered - before
	st, _ := s.client.State("chat")
	s.line.say("app", "%d requests answered by %s meanwhile: the SDK keeps the last route (%.1fs old)", s.result.AnsweredWhileDown, st.GetActiveProvider(), st.Age.Seconds())
	begun := time.Now()
	if err := s.daemon.start(ctx); err != nil {
		return err
	}
	s.result.RestartMS = ms(time.Since(begun))
	s.line.say(">>>", "we start the server again: it serves after %.2fs", float64(s.result.RestartMS)/1000)
	if err := s.pic.until(ctx, func() bool { return ended(s.pic.runs[s.result.RunID]) }); err != nil {
		return fmt.Errorf("run %s did not end after the restart: %w", s.result.RunID, err)
	}
	return s.checkRun(ctx)
}

// checkRun proves that the run survived as one run, with each message written once.
func (s *show) checkRun(ctx context.Context) error {
	s.pic.mu.Lock()
	run, state, n := s.pic.runs[s.result.RunID], s.pic.state, len(s.pic.order)
	s.pic.mu.Unlock()
	s.result.TerminalState = word(run.GetState(), "RUN_STATE_")
	switch {
	case run.GetState() != jv1.RunState_RUN_STATE_SUCCEEDED:
		return fmt.Errorf("run %s ended %v: %s", run.GetName(), run.GetState(), run.GetOutcome())
	case n != 1:
		return fmt.Errorf("there are %d runs, there should be one", n)
	case state.GetEpoch() != 2:
		return fmt.Errorf("the route was switched more than once: epoch %d", state.GetEpoch())
	}
	s.line.say(">>>", "run %s is intact and ended %s; nothing was repeated", short(run.GetName()), s.result.TerminalState)
	return s.answers(ctx, rate/2, "after the restart")
}

// breakStandby takes the last provider away: nobody serves, requests are held.
func (s *show) breakStandby(ctx context.Context) error {
	s.line.say(">>>", "we break %s too: now nobody serves", standby)
	s.second.become(answers500)
	if err := s.pic.until(ctx, func() bool { return s.pic.state.GetQueueing() }); err != nil {
		return fmt.Errorf("queueing was not switched on: %w", err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for s.app.counts().held < rate/2 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the application held no requests: %w", ctx.Err())
		case <-tick.C:
		}
	}
	s.line.say("app", "holds its requests while queueing is on; %d so far", s.app.counts().held)
	return nil
}

// recover mends the primary, and waits until everything is as it was.
func (s *show) recover(ctx context.Context) error {
	s.line.say(">>>", "%s answers again", primary)
	s.first.become(well)
	if err := s.pic.until(ctx, func() bool {
		st := s.pic.state
		return st.GetActiveProvider() == primary && !st.GetQueueing() && s.allEnded()
	}); err != nil {
		return fmt.Errorf("the service was not failed back: %w", err)
	}
	s.pic.mu.Lock()
	s.result.Phase = word(s.pic.state.GetPhase(), "PHASE_")
	s.pic.mu.Unlock()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for s.app.counts().held > 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("held requests were not sent: %w", ctx.Err())
		case <-tick.C:
		}
	}
	s.line.say("app", "sent what it had held, a few with every new request")
	return s.countNotifications(ctx)
}

func (s *show) allEnded() bool {
	for _, r := range s.pic.runs {
		if !ended(r) {
			return false
		}
	}
	return len(s.pic.runs) >= 3
}

// countNotifications waits until the outbox is empty and counts what was delivered.
func (s *show) countNotifications(ctx context.Context) error {
	admin := jv1.NewAdminServiceClient(s.conn)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		res, err := admin.ListNotifications(ctx, &jv1.ListNotificationsRequest{PageSize: 100})
		if err != nil {
			return fmt.Errorf("list notifications: %w", err)
		}
		delivered := 0
		for _, n := range res.GetNotifications() {
			if n.GetState() == jv1.DeliveryState_DELIVERY_STATE_DELIVERED {
				delivered++
			}
		}
		if s.result.Notifications = delivered; delivered > 0 && delivered == len(res.GetNotifications()) {
			s.line.say("notify", "%d messages delivered to channel oncall, the last: %q", delivered, res.GetNotifications()[0].GetTitle())
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d notifications were delivered: %w", delivered, len(res.GetNotifications()), ctx.Err())
		case <-tick.C:
		}
	}
}
