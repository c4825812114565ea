package cluster

import (
	"context"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// Credentials is what a gRPC server on Listener.GRPC is given: the handshake is
// done already, and the peer known.
func Credentials() credentials.TransportCredentials { return accepted{} }

type accepted struct{}

// AuthInfo carries the peer to the handlers.
type AuthInfo struct {
	credentials.CommonAuthInfo
	Peer Peer
	conn *Conn
}

// AuthType names what was authenticated with.
func (AuthInfo) AuthType() string { return "hexr-tls" }

func (accepted) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, ok := raw.(*Conn)
	if !ok {
		return nil, nil, errors.New("cluster: not a connection of this listener")
	}
	return c, AuthInfo{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, c.Peer(), c}, nil
}

func (accepted) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("cluster: these credentials are a server's")
}

func (accepted) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (a accepted) Clone() credentials.TransportCredentials { return a }

func (accepted) OverrideServerName(string) error { return nil }

// PeerFromContext is who made a gRPC call.
func PeerFromContext(ctx context.Context) (Peer, bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return Peer{}, false
	}
	info, ok := p.AuthInfo.(AuthInfo)
	return info.Peer, ok
}

// ConnFromContext is the connection of a gRPC call.
func ConnFromContext(ctx context.Context) (*Conn, bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, false
	}
	info, ok := p.AuthInfo.(AuthInfo)
	return info.conn, ok && info.conn != nil
}
