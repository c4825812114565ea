package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"google.golang.org/grpc/credentials"
)

var errNotKept = errors.New("the connection was closed: its peer was refused meanwhile, or this node is closing")

// dial connects to a node.
func (s *connections) dial(ctx context.Context, addr, nodeID, alpn string) (*Conn, error) {
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return s.connect(ctx, raw, nodeID, alpn)
}

// connect finishes a handshake as the client, and keeps the connection for as
// long as the server is who was dialled.
func (s *connections) connect(ctx context.Context, raw net.Conn, nodeID, alpn string) (*Conn, error) {
	began := s.begin()
	cfg := s.tls.Client(nodeID, alpn)
	conn := tls.Client(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	state := conn.ConnectionState()
	c := &Conn{
		Conn: conn, proto: negotiated(state), dialled: true,
		peer:   Peer{Node: nodeID, NotAfter: firstEnd(state), Addr: raw.RemoteAddr().String()},
		verify: func() error { return cfg.VerifyConnection(state) },
	}
	if state.NegotiatedProtocol != alpn {
		_ = raw.Close()
		return nil, errors.New("the server does not speak the protocol that is wanted")
	}
	if !s.add(c, began) {
		return nil, errNotKept
	}
	return c, nil
}

// firstEnd is when the first certificate of the server's chain ends.
func firstEnd(state tls.ConnectionState) (end time.Time) {
	for _, cert := range state.PeerCertificates {
		if end.IsZero() || cert.NotAfter.Before(end) {
			end = cert.NotAfter
		}
	}
	return end
}

// dialCredentials make a gRPC client's connections to one node.
type dialCredentials struct {
	accepted  // the rest of the interface
	conns     *connections
	nodeID    string
	connected func(*Conn)
}

func (d dialCredentials) ClientHandshake(ctx context.Context, _ string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, err := d.conns.connect(ctx, raw, d.nodeID, alpnH2)
	if err != nil {
		return nil, nil, err
	}
	d.connected(c)
	return c, AuthInfo{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, c.peer, c}, nil
}

func (d dialCredentials) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("cluster: these credentials are a client's")
}

func (d dialCredentials) Clone() credentials.TransportCredentials { return d }
