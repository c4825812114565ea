package hexrd_test

import (
	"context"
	"crypto/tls"
	"math/rand/v2"
	"net"
)

// elsewhere dials from some address of the loopback network: handshakes of one address
// are paced, and tests are faster than that.
func elsewhere(cfg *tls.Config) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		from := net.IPv4(127, byte(1+rand.IntN(254)), byte(rand.IntN(256)), byte(1+rand.IntN(254)))
		d := &tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}, Config: cfg}
		return d.DialContext(ctx, network, addr)
	}
}
