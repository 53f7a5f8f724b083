package api_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/api"
	"github.com/jurymast/jurymast/server/auth"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

// principals writes a file with one principal of each role, whose token is its role's name.
func principals(t *testing.T) *auth.Authenticator {
	t.Helper()
	text := "principals:\n"
	for _, role := range []string{"viewer", "operator", "admin"} {
		text += fmt.Sprintf("- {name: %s-1, role: %s, token_sha256: %s}\n", role, role, auth.HashToken(role))
	}
	path := filepath.Join(t.TempDir(), "principals.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := auth.New(auth.Options{File: path})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// services are all services of the API.
func services() []protoreflect.ServiceDescriptor {
	var out []protoreflect.ServiceDescriptor
	for _, f := range []protoreflect.FileDescriptor{
		jv1.File_jurymast_v1_admin_proto, jv1.File_jurymast_v1_catalog_proto, jv1.File_jurymast_v1_continuity_proto,
		jv1.File_jurymast_v1_detector_proto, jv1.File_jurymast_v1_run_proto, jv1.File_jurymast_v1_runbook_proto,
	} {
		for i := range f.Services().Len() {
			out = append(out, f.Services().Get(i))
		}
	}
	return out
}

// call makes an empty call of any method and returns its error.
func (r *rig) call(ctx context.Context, conn *grpc.ClientConn, m protoreflect.MethodDescriptor) error {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	name := fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
	in, out := dynamicpb.NewMessage(m.Input()), dynamicpb.NewMessage(m.Output())
	if !m.IsStreamingServer() {
		return conn.Invoke(ctx, name, in, out)
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, name)
	if err != nil {
		return err
	}
	if err := errors.Join(stream.SendMsg(in), stream.CloseSend()); err != nil {
		return err
	}
	return stream.RecvMsg(out)
}

// TestRolesOfEveryMethod calls every method of every service with every role and with nobody's token, and compares what is
// refused with the table. Empty requests are enough: who may not is refused before anything is looked at.
func TestRolesOfEveryMethod(t *testing.T) {
	r := start(t, options{auth: principals(t), token: "admin"})
	conns := map[auth.Role]*grpc.ClientConn{}
	for role, token := range map[auth.Role]string{auth.None: "", auth.Viewer: "viewer", auth.Operator: "operator", auth.Admin: "admin"} {
		r.token = token
		conns[role] = r.dial(insecure.NewCredentials())
	}
	methods := 0
	for _, s := range services() {
		for i := range s.Methods().Len() {
			m := s.Methods().Get(i)
			rule, ok := auth.RuleOf(fmt.Sprintf("/%s/%s", s.FullName(), m.Name()))
			if !ok {
				t.Fatalf("%s has no rule", m.FullName())
			}
			methods++
			for role, conn := range conns {
				code := status.Code(r.call(t.Context(), conn, m))
				switch {
				case role == auth.None && code != codes.Unauthenticated:
					t.Errorf("nobody calls %s: %v", m.FullName(), code)
				case role != auth.None && !role.Covers(rule.Role) && code != codes.PermissionDenied:
					t.Errorf("%v calls %s: %v", role, m.FullName(), code)
				case role != auth.None && role.Covers(rule.Role) && (code == codes.PermissionDenied || code == codes.Unauthenticated || code == codes.Internal || code == codes.Unimplemented):
					t.Errorf("%v calls %s: %v", role, m.FullName(), code)
				}
			}
		}
	}
	if methods < 40 {
		t.Errorf("only %d methods were tried", methods)
	}
}

func TestWhoCalls(t *testing.T) {
	r := start(t, options{auth: principals(t), token: "operator"})
	info, err := r.admin().GetInfo(t.Context(), &jv1.GetInfoRequest{})
	if err != nil || info.GetPrincipal() != "operator-1" || info.GetRole() != "operator" {
		t.Errorf("%v, %v", info, err)
	}
	r.token = "wrong"
	_, err = jv1.NewAdminServiceClient(r.dial(insecure.NewCredentials())).GetInfo(t.Context(), &jv1.GetInfoRequest{})
	wants(t, err, codes.Unauthenticated, "UNAUTHENTICATED")

	// What the HTTP side uses among ourselves is no way in.
	r.token = ""
	ctx := metadata.AppendToOutgoingContext(t.Context(), "jurymast-principal", "admin-1", "jurymast-role", "admin")
	_, err = jv1.NewAdminServiceClient(r.dial(insecure.NewCredentials())).GetInfo(ctx, &jv1.GetInfoRequest{})
	wants(t, err, codes.Unauthenticated, "UNAUTHENTICATED")
}

// TestAWithdrawnTokenEndsItsStreams opens a stream, takes its caller out of the file, and lets time pass.
func TestAWithdrawnTokenEndsItsStreams(t *testing.T) {
	var passed atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
	path := filepath.Join(t.TempDir(), "principals.yaml")
	write := func(token string) {
		t.Helper()
		text := "principals: [{name: alice, role: viewer, token_sha256: " + auth.HashToken(token) + "}]"
		if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o600), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	a, err := auth.New(auth.Options{File: path, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, options{auth: a, token: "first", now: now})
	f := r.watchRuns(&jv1.WatchRunsRequest{})
	f.wants("BOOKMARK ")
	passed.Store(int64(16 * time.Second))
	r.put(run("r-1", "chat"))
	for told(f.next()) != "PUT r-1" { // who is still welcome stays
	}
	write("second")
	passed.Store(int64(40 * time.Second))
	r.put(run("r-2", "chat"))
	wants(t, f.ended(), codes.Unauthenticated, "UNAUTHENTICATED")
}

// TestHealthAndReflection: health is for everybody, reflection for who may read.
func TestHealthAndReflection(t *testing.T) {
	r := start(t, options{auth: principals(t), stale: 300 * time.Millisecond})
	check := func(service string) healthpb.HealthCheckResponse_ServingStatus {
		t.Helper()
		got, err := healthpb.NewHealthClient(r.conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		return got.GetStatus()
	}
	eventually(t, "SERVING", func() bool { return check("") == healthpb.HealthCheckResponse_SERVING })
	if got := check("jurymast.v1.RunService"); got != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("the service is %v", got)
	}
	r.backend.SetDown(true)
	eventually(t, "NOT_SERVING", func() bool { return check("") == healthpb.HealthCheckResponse_NOT_SERVING })
	r.backend.SetDown(false)
	eventually(t, "SERVING again", func() bool { return check("") == healthpb.HealthCheckResponse_SERVING })

	list := func() ([]*reflectionpb.ServiceResponse, error) {
		stream, err := reflectionpb.NewServerReflectionClient(r.dial(insecure.NewCredentials())).ServerReflectionInfo(t.Context())
		if err != nil {
			return nil, err
		}
		// Who is refused may not get rid of the request any more; the reason comes with the answer.
		_ = stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
		got, err := stream.Recv()
		return got.GetListServicesResponse().GetService(), err
	}
	if _, err := list(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("reflection for nobody: %v", err)
	}
	r.token = "viewer"
	if got, err := list(); err != nil || len(got) != 10 {
		t.Errorf("reflection: %v, %v", got, err)
	}
}

func TestPanicsAreNotShown(t *testing.T) {
	r := start(t, options{})
	r.parts.panics = true
	_, err := r.runs().StartRun(t.Context(), &jv1.StartRunRequest{Runbook: "x", Reason: "x"})
	wants(t, err, codes.Internal, "INTERNAL")
	if strings.Contains(fmt.Sprint(status.Convert(err).Proto()), "secret") {
		t.Errorf("the panic is shown: %v", err)
	}
	over := r.do("POST", "/v1/runs", `{"runbook":"x","reason":"x"}`)
	if over.code != 500 || strings.Contains(over.body, "secret") || strings.Contains(over.body, "goroutine") {
		t.Errorf("over HTTP: %d %s", over.code, over.body)
	}
	id := detail[*errdetails.ErrorInfo](err).GetMetadata()["id"]
	if text := r.logged.String(); !strings.Contains(text, "the secret of a panic") || !strings.Contains(text, "goroutine") || id == "" || !strings.Contains(text, id) {
		t.Errorf("the log doesn't tell of it (id %q)", id)
	}
	r.parts.panics = false
	if _, err := r.runs().StartRun(t.Context(), &jv1.StartRunRequest{Runbook: "x", Reason: "x"}); err != nil {
		t.Errorf("after the panic: %v", err)
	}
}

func TestErrorsOfParts(t *testing.T) {
	r := start(t, options{})
	for _, test := range []struct {
		err    error
		code   codes.Code
		reason string
	}{
		{fmt.Errorf("run r: %w", errPart), codes.FailedPrecondition, "NOT_POSSIBLE"},
		{fmt.Errorf("commit: %w", store.ErrUnavailable), codes.Unavailable, "STORE_UNAVAILABLE"},
		{fmt.Errorf("commit: %w", store.ErrUnknown), codes.Aborted, "OUTCOME_UNKNOWN"},
		{fmt.Errorf("commit: %w", store.ErrNoSpace), codes.ResourceExhausted, "NO_SPACE"},
		{fmt.Errorf("commit: %w", store.ErrTooLarge), codes.InvalidArgument, "TOO_LARGE"},
		{fmt.Errorf("commit: %w", store.ErrClosed), codes.Unavailable, "SERVER_STOPPING"},
		{errors.New("a detail that is nobody's business"), codes.Internal, "INTERNAL"},
	} {
		r.parts.fail(test.err)
		_, err := r.runs().CancelRun(t.Context(), &jv1.CancelRunRequest{Name: "r", Reason: "x"})
		wants(t, err, test.code, test.reason)
		if test.code == codes.Unavailable && detail[*errdetails.RetryInfo](err).GetRetryDelay().AsDuration() <= 0 {
			t.Errorf("%v has no hint when to try again", err)
		}
		if strings.Contains(err.Error(), "nobody's business") {
			t.Errorf("shown: %v", err)
		}
	}
}

func TestDeadlines(t *testing.T) {
	r := start(t, options{})
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Millisecond)
	defer cancel()
	if _, err := r.runs().CancelRun(ctx, &jv1.CancelRunRequest{Name: "r", Reason: "x"}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("error %v", err)
	}
	if got := r.parts.last(); got != "" {
		t.Errorf("a call without time was begun: %s", got)
	}
}

// TestStoreAway: what is known is still read, and says how old it is; what would change something is refused at once.
func TestStoreAway(t *testing.T) {
	r := start(t, options{stale: 300 * time.Millisecond})
	r.world()
	r.put(run("r-1", "chat"))
	var header metadata.MD
	read := func() error {
		header = nil
		_, err := r.runs().GetRun(t.Context(), &jv1.GetRunRequest{Name: "r-1"}, grpc.Header(&header))
		return err
	}
	if err := read(); err != nil || header.Get(api.HeaderLive)[0] != "true" || len(header.Get(api.HeaderAsOf)) != 1 {
		t.Errorf("live: %v, %v", header, err)
	}
	r.backend.SetDown(true)
	eventually(t, "the header says that it is not live", func() bool {
		if err := read(); err != nil {
			t.Fatalf("a read was refused: %v", err)
		}
		return header.Get(api.HeaderLive)[0] == "false"
	})
	if asOf, err := time.Parse(time.RFC3339Nano, header.Get(api.HeaderAsOf)[0]); err != nil || time.Since(asOf) < 100*time.Millisecond {
		t.Errorf("as of %v, %v", asOf, err)
	}
	_, err := r.continuity().SwitchProvider(t.Context(), &jv1.SwitchProviderRequest{Service: "chat", Provider: "beta", Reason: "x", BreakGlass: true})
	wants(t, err, codes.Unavailable, "STORE_UNAVAILABLE")
	if detail[*errdetails.RetryInfo](err).GetRetryDelay().AsDuration() <= 0 {
		t.Error("no hint when to try again")
	}
	over := r.do("POST", "/v1/continuity/chat:switch", `{"provider":"beta","reason":"x","break_glass":true}`)
	if over.code != 503 || over.header.Get("Retry-After") != "1" {
		t.Errorf("over HTTP: %d %v %s", over.code, over.header, over.body)
	}
	if got := r.do("GET", "/v1/runs/r-1", ""); got.code != 200 || got.header.Get(api.HeaderLive) != "false" {
		t.Errorf("over HTTP: %d %v", got.code, got.header)
	}
	if got := r.do("GET", "/readyz", ""); got.code != 503 {
		t.Errorf("ready: %d %s", got.code, got.body)
	}
	if got := r.do("GET", "/healthz", ""); got.code != 200 {
		t.Errorf("healthy: %d", got.code)
	}
	r.backend.SetDown(false)
	eventually(t, "writes are taken again", func() bool {
		_, err := r.continuity().SetQueueing(t.Context(), &jv1.SetQueueingRequest{Service: "chat", On: true, Reason: "x"})
		return err == nil
	})
}

// TestUnknownOutcome: a change whose acknowledgement is lost is found out about, not guessed.
func TestUnknownOutcome(t *testing.T) {
	r := start(t, options{})
	lost := 0
	r.backend.OnCommit(func(context.Context, store.Txn) storetest.Fault {
		if lost++; lost == 1 {
			return storetest.Fault{Kind: storetest.Executed}
		}
		return storetest.Fault{}
	})
	out, err := r.catalog().Apply(t.Context(), &jv1.ApplyRequest{Resources: []*jv1.Resource{provider("alpha")}})
	if err != nil || actions(out.GetResults()) != "provider/alpha created" {
		t.Errorf("%v, %v", out, err)
	}
	r.backend.OnCommit(func(_ context.Context, txn store.Txn) storetest.Fault {
		if len(txn.Then) == 0 {
			return storetest.Fault{} // etcd out of space still answers what it is asked
		}
		return storetest.Fault{Kind: storetest.NoSpace}
	})
	_, err = r.catalog().Apply(t.Context(), &jv1.ApplyRequest{Resources: []*jv1.Resource{provider("beta")}})
	wants(t, err, codes.ResourceExhausted, "NO_SPACE")
	if over := r.do("POST", "/v1/catalog:apply", `{"resources":[{"provider":{"name":"beta","base_url":"http://x/"}}]}`); over.code != 507 {
		t.Errorf("over HTTP: %d %s", over.code, over.body)
	}
}

// TestConcurrentAppliesAreDecidedAnew lets several callers change one runbook: versions follow each other without a gap.
func TestConcurrentAppliesAreDecidedAnew(t *testing.T) {
	r := start(t, options{})
	r.world()
	const writers = 8
	errs := make(chan error, writers)
	for i := range writers {
		go func() {
			_, err := r.catalog().Apply(t.Context(), &jv1.ApplyRequest{Resources: []*jv1.Resource{
				runbook("failover", "chat", []string{"alpha", "beta", "any", "preferred"}[i%4], "log"),
			}})
			errs <- err
		}()
	}
	failed := 0
	for range writers {
		if err := <-errs; err != nil {
			wants(t, err, codes.Aborted, "CONTENDED")
			failed++
		}
	}
	revisions, err := r.runbooks().ListRunbookRevisions(t.Context(), &jv1.ListRunbookRevisionsRequest{Name: "failover"})
	if err != nil {
		t.Fatal(err)
	}
	for i, rb := range revisions.GetRevisions() {
		if want := int64(len(revisions.GetRevisions()) - i); rb.GetVersion() != want {
			t.Errorf("version %d where %d belongs", rb.GetVersion(), want)
		}
	}
	if failed == writers {
		t.Error("nobody got through")
	}
}
