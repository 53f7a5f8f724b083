package audit_test

import (
	"context"
	"strings"
	"testing"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/audit"
	"github.com/jurymast/jurymast/server/store"
)

func TestOpRecordsTheCaller(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	ctx := audit.With(context.Background(), audit.Caller{Principal: "ana", Role: "operator", Action: "ContinuityService.Undo"})
	op := audit.Op(ctx, now, audit.Change{Target: "services/chat", Reason: "too early", Details: map[string]string{"epoch": "4"}})
	if !strings.HasPrefix(op.Key, store.Audit) || op.Delete {
		t.Fatalf("op = %+v", op)
	}
	var got jv1.AuditEvent
	if err := store.Open(op.Value, &got); err != nil {
		t.Fatal(err)
	}
	if got.Actor != "ana" || got.Role != "operator" || got.Action != "ContinuityService.Undo" || got.Target != "services/chat" ||
		got.Reason != "too early" || got.Details["epoch"] != "4" || !got.Time.AsTime().Equal(now) {
		t.Errorf("event = %v", &got)
	}
}

func TestFromWithoutCallerIsTheMachine(t *testing.T) {
	if c := audit.From(context.Background()); c.Principal != audit.Machine {
		t.Errorf("principal = %q", c.Principal)
	}
}
