package daemon

import (
	"context"
	"net"

	"github.com/hashicorp/go-hclog"

	"github.com/jurymast/jurymast/server/telemetry"
)

// notifySupervisor returns what tells systemd how the service is (sd_notify(3)); without a socket it tells nobody.
func notifySupervisor(socket string, log hclog.Logger) func(state string) {
	if socket == "" {
		return func(string) {}
	}
	return func(state string) {
		var d net.Dialer
		conn, err := d.DialContext(context.Background(), "unixgram", socket)
		if err != nil {
			log.Warn("can't tell the supervisor", "state", state, telemetry.KeyError, err)
			return
		}
		defer func() { _ = conn.Close() }() // nothing is left to be sent
		if _, err := conn.Write([]byte(state)); err != nil {
			log.Warn("can't tell the supervisor", "state", state, telemetry.KeyError, err)
		}
	}
}
