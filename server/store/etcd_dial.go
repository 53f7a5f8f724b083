package store

import (
	"crypto/tls"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

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
