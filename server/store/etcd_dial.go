package store

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/jurymast/jurymast/server/telemetry"
)

// DialOptions say where an external etcd is. Zero values mean the defaults.
type DialOptions struct {
	// Endpoints of the cluster's members, e.g. https://10.0.0.1:2379. All must belong to one cluster.
	Endpoints []string
	// TLS of the connections, with the client's certificate if the cluster asks for one; nil for plain http.
	TLS *tls.Config
	// Username and Password, when the cluster asks for them.
	Username, Password string
	// Logger gets the client's warnings; nil discards.
	Logger hclog.Logger
	// Etcd configures the backend; its Client is not used.
	Etcd EtcdOptions
}

// DialEtcd returns a backend on an external cluster. It connects in the background: a cluster that can't be reached is
// noticed by the first request.
func DialEtcd(opts DialOptions) (*Etcd, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            opts.Endpoints,
		TLS:                  opts.TLS,
		Username:             opts.Username,
		Password:             opts.Password,
		DialTimeout:          5 * time.Second,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 5 * time.Second,
		// One try: the client repeats more than requests that were never sent, and would hide an unknown outcome
		// behind the answer to its second try.
		MaxUnaryRetries: 1,
		DialOptions:     dialOptions(),
		Logger:          zap.New(telemetry.NewZapCore(telemetry.ZapOptions{Logger: opts.Logger, Level: zapcore.WarnLevel})),
	})
	if err != nil {
		return nil, fmt.Errorf("dial etcd at %v: %w", opts.Endpoints, err)
	}
	opts.Etcd.Client = client
	e := NewEtcd(opts.Etcd)
	e.closeClient = client.Close
	return e, nil
}

// dialOptions are what the client can't be told otherwise.
func dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		// By default a client that was cut off for long may take two minutes to notice that the cluster is back.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 3 * time.Second,
		}),
		// The client lets requests wait for a connection. Without one we want to know at once that nothing was sent,
		// instead of not knowing anything later.
		grpc.WithChainUnaryInterceptor(func(
			ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
		) error {
			return invoke(ctx, method, req, reply, conn, append(slices.Clip(opts), grpc.WaitForReady(false))...)
		}),
	}
}
