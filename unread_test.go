package hexrd_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
)

// TestUnreadAnswers: a caller that does not read what it is answered loses the
// connection that it does not read, and no other; who reads as much keeps its own.
func TestUnreadAnswers(t *testing.T) {
	t.Parallel()
	const greedy, honest = "/agent/acme/greedy/main", "/agent/acme/bot/main"
	const answers = 64 // of 1 MiB, twice what may be unread
	l := newLimited(t)
	l.set("value_max_bytes", "1048576", "rate_burst", "1000000", "rate_per_second", "1000000")
	value := bytes.Repeat([]byte("v"), 1<<20)
	for _, as := range []string{greedy, honest} {
		if _, err := l.client(as).Put(t.Context(), "k", value, client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	reads, keeps := l.dialGRPC(honest), l.dialGRPC(greedy)
	for range answers {
		for _, conn := range []*grpc.ClientConn{reads, keeps} {
			if _, err := hexrv1.NewVaultClient(conn).Get(t.Context(), &hexrv1.GetRequest{Path: "k"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	// gRPC would connect again, or take whole answers for who does not read them: its
	// windows grow by what it measures.
	unread := l.dialGRPC(greedy, grpc.WithContextDialer(once()), grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(64<<10))
	for range answers {
		stream, err := unread.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, hexrv1.Vault_Get_FullMethodName)
		if err != nil {
			break // the connection has ended already
		}
		if stream.SendMsg(&hexrv1.GetRequest{Path: "k"}) != nil || stream.CloseSend() != nil {
			break
		}
	}
	until(t, "the connection that is not read to end", func() bool { return unread.GetState() != connectivity.Ready })
	for _, conn := range []*grpc.ClientConn{reads, keeps} {
		if _, err := hexrv1.NewVaultClient(conn).Get(t.Context(), &hexrv1.GetRequest{Path: "k"}); err != nil || conn.GetState() != connectivity.Ready {
			t.Errorf("a connection that is read: %v", err)
		}
	}
}

// once dials a first time and never again.
func once() func(context.Context, string) (net.Conn, error) {
	var dialled atomic.Bool
	return func(ctx context.Context, addr string) (net.Conn, error) {
		if dialled.Swap(true) {
			return nil, errors.New("this connection is made once")
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	}
}

func (l *limited) dialGRPC(path string, options ...grpc.DialOption) *grpc.ClientConn {
	l.t.Helper()
	conn, err := grpc.NewClient(l.server.Addr(), append(options, grpc.WithTransportCredentials(credentials.NewTLS(l.tlsAs(path))))...)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// tlsAs is a client's configuration with an identity.
func (l *limited) tlsAs(path string, alpn ...string) *tls.Config {
	return &tls.Config{
		RootCAs: l.ca.Pool(), MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate(l.mint(path))}, NextProtos: alpn,
	}
}
