package hexrd_test

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"time"
)

// patient dials again where handshakes of this address are paced: tests are one
// address, and may be faster than that.
func patient(cfg *tls.Config) func(ctx context.Context, network, addr string) (net.Conn, error) {
	d := &tls.Dialer{Config: cfg}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			conn, err := d.DialContext(ctx, network, addr)
			if err == nil || !strings.Contains(err.Error(), "remote error: tls: internal error") {
				return conn, err
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil, err
			}
		}
	}
}
