package server_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server"
	"github.com/jurymast/jurymast/server/etcdnode"
)

// backup takes a backup through the API and returns the file, which it has checked against header and trailer.
func (r *rig) backup() string {
	r.t.Helper()
	stream, err := r.admin().Backup(r.t.Context(), &jv1.BackupRequest{})
	if err != nil {
		r.t.Fatal(err)
	}
	var data bytes.Buffer
	var header *jv1.BackupHeader
	var trailer *jv1.BackupTrailer
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			r.t.Fatal(err)
		}
		if h := part.GetHeader(); h != nil {
			header = h
		}
		data.Write(part.GetData())
		if last := part.GetTrailer(); last != nil {
			trailer = last
		}
	}
	sum := sha256.Sum256(data.Bytes())
	if trailer.GetSha256() != hex.EncodeToString(sum[:]) || trailer.GetBytes() != int64(data.Len()) {
		r.t.Fatalf("trailer %v of %d bytes", trailer, data.Len())
	}
	if header.GetRestoreEpoch() == "" || header.GetRevision() == 0 || header.GetVersion() != "test" || !header.GetTime().IsValid() || header.GetClusterId() == "" {
		r.t.Errorf("header %v", header)
	}
	path := filepath.Join(r.t.TempDir(), "backup.db")
	if err := os.WriteFile(path, data.Bytes(), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// wantRestored expects a call to be refused because the store was restored.
func wantRestored(t *testing.T, what string, err error) {
	t.Helper()
	st := status.Convert(err)
	guard := ""
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			guard = info.GetMetadata()["guard"]
		}
	}
	if st.Code() != codes.FailedPrecondition || guard != "restored" || !strings.Contains(st.Message(), "restore confirm") {
		t.Errorf("%s: %v, guard %q", what, err, guard)
	}
}

// TestARestoreWaitsForAHuman is the restore drill: a backup through the API becomes a data directory; the server on it
// shows everything and changes nothing, not even what its runs were about to do, until a human confirms; then the run that
// was live waits to be resumed, and goes on when it is.
func TestARestoreWaitsForAHuman(t *testing.T) {
	o := options(t)
	o.SessionTTL = 2 * time.Second // the session in the backup lives that long once more
	r := start(t, o)
	ctx := t.Context()
	alpha, beta := newProvider(t, "alpha"), newProvider(t, "beta")
	r.apply(alpha.resource(), beta.resource(), service("chat", alpha, beta), logChannel("log"), runbook(asking("ask", "chat")))
	run, err := r.runs().StartRun(ctx, &jv1.StartRunRequest{Runbook: "ask", Service: "chat", Reason: "drill"})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the run asks", func() bool {
		got, err := r.runs().GetRun(ctx, &jv1.GetRunRequest{Name: run.GetName()})
		return err == nil && got.GetWait() == jv1.RunWait_RUN_WAIT_APPROVAL
	})
	before, err := r.admin().GetInfo(ctx, &jv1.GetInfoRequest{})
	if err != nil || before.GetObserveOnly() != nil {
		t.Fatalf("info %v, %v", before, err)
	}
	file := r.backup()
	info, err := r.admin().GetInfo(ctx, &jv1.GetInfoRequest{})
	if err != nil || info.GetLastBackup().GetSuccessTime() == nil || info.GetLastBackup().GetRevision() == 0 {
		t.Errorf("last backup %v, %v", info.GetLastBackup(), err)
	}
	if _, err := r.continuity().SwitchProvider(ctx, &jv1.SwitchProviderRequest{Service: "chat", Provider: "beta", Reason: "lost", BreakGlass: true}); err != nil {
		t.Fatal(err)
	}
	r.stop()

	if _, err := server.Restore(server.RestoreOptions{From: file, DataDir: o.DataDir}); !errors.Is(err, server.ErrOptions) {
		t.Errorf("into a directory that is not empty: %v", err)
	}
	o.DataDir = filepath.Join(t.TempDir(), "restored")
	found, err := server.Restore(server.RestoreOptions{From: file, DataDir: o.DataDir})
	if err != nil || found.Keys == 0 {
		t.Fatalf("restored %+v, %v", found, err)
	}
	r = start(t, o)
	info, err = r.admin().GetInfo(ctx, &jv1.GetInfoRequest{})
	only := info.GetObserveOnly()
	if err != nil || only.GetReason() == "" || !strings.Contains(only.GetDetail(), file) || !only.GetBackupTime().IsValid() || !only.GetSince().IsValid() {
		t.Fatalf("info %v, %v", info, err)
	}
	if info.GetRestoreEpoch() != before.GetRestoreEpoch() || !info.GetFreshness().GetLive() || len(info.GetReplicas()) == 0 {
		t.Errorf("info %v", info)
	}
	state, err := r.continuity().GetContinuity(ctx, &jv1.GetContinuityRequest{Service: "chat"})
	if err != nil || state.GetState().GetActiveProvider() != "alpha" {
		t.Errorf("reads: %v, %v", state, err)
	}
	_, err = r.continuity().SwitchProvider(ctx, &jv1.SwitchProviderRequest{Service: "chat", Provider: "beta", Reason: "x", BreakGlass: true})
	wantRestored(t, "switch", err)
	_, err = r.runs().StartRun(ctx, &jv1.StartRunRequest{Runbook: "ask", Service: "chat", Reason: "x"})
	wantRestored(t, "start", err)
	_, err = r.runs().DecideRun(ctx, &jv1.DecideRunRequest{Name: run.GetName(), Approve: true})
	wantRestored(t, "decide", err)
	_, err = r.admin().SetAutomation(ctx, &jv1.SetAutomationRequest{On: true, Reason: "x"})
	wantRestored(t, "automation", err)
	if _, err := r.continuity().ReportInForce(ctx, &jv1.ReportInForceRequest{Subscriber: "app", Epochs: map[string]int64{"chat": 1}}); err != nil {
		t.Errorf("reports: %v", err)
	}
	r.backup() // also of a store that nobody has confirmed

	// A restart does not forget it.
	r.stop()
	r = start(t, o)
	if info, err := r.admin().GetInfo(ctx, &jv1.GetInfoRequest{}); err != nil || info.GetObserveOnly().GetDetail() != only.GetDetail() {
		t.Errorf("after a restart: %v, %v", info.GetObserveOnly(), err)
	}

	out, err := r.admin().ConfirmRestore(ctx, &jv1.ConfirmRestoreRequest{Reason: "looked at it"})
	if err != nil || out.GetRestoreEpoch() <= before.GetRestoreEpoch() || len(out.GetRuns()) != 1 || out.GetRuns()[0] != run.GetName() {
		t.Fatalf("confirmed %v, %v", out, err)
	}
	info, err = r.admin().GetInfo(ctx, &jv1.GetInfoRequest{})
	if err != nil || info.GetObserveOnly() != nil || info.GetRestoreEpoch() != out.GetRestoreEpoch() {
		t.Errorf("info %v, %v", info, err)
	}
	paused, err := r.runs().GetRun(ctx, &jv1.GetRunRequest{Name: run.GetName()})
	if err != nil || paused.GetWait() != jv1.RunWait_RUN_WAIT_RESUME || !strings.Contains(paused.GetWaitText(), "restored from a backup of 20") {
		t.Fatalf("the run: %v, %v", paused, err)
	}
	events, err := r.admin().ListAuditEvents(ctx, &jv1.ListAuditEventsRequest{})
	if err != nil || events.GetEvents()[0].GetAction() != "AdminService.ConfirmRestore" || events.GetEvents()[0].GetReason() != "looked at it" {
		t.Errorf("audit %v, %v", events.GetEvents(), err)
	}
	if _, err := r.admin().ConfirmRestore(ctx, &jv1.ConfirmRestoreRequest{Reason: "again"}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a second confirmation: %v", err)
	}
	eventually(t, "the run can be resumed, and asks again", func() bool {
		_, _ = r.runs().ResumeRun(ctx, &jv1.ResumeRunRequest{Name: run.GetName(), Reason: "all is well"})
		got, err := r.runs().GetRun(ctx, &jv1.GetRunRequest{Name: run.GetName()})
		return err == nil && got.GetWait() == jv1.RunWait_RUN_WAIT_APPROVAL
	})
	if _, err := r.continuity().SwitchProvider(ctx, &jv1.SwitchProviderRequest{Service: "chat", Provider: "beta", Reason: "x", BreakGlass: true}); err != nil {
		t.Errorf("after the confirmation: %v", err)
	}
}

// TestADamagedBackupIsRefused flips one bit, cuts a file short, and takes something else for a backup: nothing is made.
func TestADamagedBackupIsRefused(t *testing.T) {
	r := start(t, options(t))
	sound, err := os.ReadFile(r.backup())
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(sound)
	flipped[len(flipped)/2] ^= 1
	for name, data := range map[string][]byte{"flipped": flipped, "short": sound[:len(sound)-4096], "other": []byte("nothing"), "empty": nil} {
		path, dir := filepath.Join(t.TempDir(), name), filepath.Join(t.TempDir(), "data")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := server.Restore(server.RestoreOptions{From: path, DataDir: dir}); !errors.Is(err, etcdnode.ErrSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s: something was made: %v", name, err)
		}
	}
}

// TestAStoreThatIsGoneIsNotTakenForANewOne: somebody deletes etcd's data and leaves the rest of the data directory.
func TestAStoreThatIsGoneIsNotTakenForANewOne(t *testing.T) {
	o := options(t)
	r := start(t, o)
	r.stop()
	if err := os.RemoveAll(filepath.Join(o.DataDir, "etcd")); err != nil {
		t.Fatal(err)
	}
	r = start(t, o)
	info, err := r.admin().GetInfo(t.Context(), &jv1.GetInfoRequest{})
	if err != nil || info.GetObserveOnly().GetReason() != "no_restore_epoch" {
		t.Errorf("info %v, %v", info, err)
	}
}
