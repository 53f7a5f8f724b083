package campaign

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/jurymast/jurymast/server"
)

// startServer starts the whole server in this process, with an etcd of its own and a clock, and connects to it.
func startServer(t *testing.T, now func() time.Time) *grpc.ClientConn {
	t.Helper()
	o := server.DefaultOptions(filepath.Join(t.TempDir(), "data"))
	o.GRPCListen, o.HTTPListen, o.UnsafeNoFsync, o.Now = "127.0.0.1:0", "127.0.0.1:0", true, now
	s, err := server.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(within(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("passthrough:///"+s.Addrs().GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return conn
}

func conns(all ...*grpc.ClientConn) []*grpc.ClientConn { return all }
