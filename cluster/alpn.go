package cluster

import (
	"crypto/tls"
	"errors"
	"slices"
	"time"
)

// protocol is what a connection speaks, told by what its hello offers.
type protocol int

const (
	protoHTTP protocol = iota
	protoGRPC
	protoRaft
	protoSession
	protoPropose
)

const (
	alpnRaft    = "hexr-raft"
	alpnPropose = "hexr-propose"
	alpnSession = "hexr-session"
	alpnH2      = "h2"
	alpnHTTP    = "http/1.1"
)

var (
	errPaced   = errors.New("too many handshakes of one address")
	errEvicted = errors.New("too many unfinished handshakes of one address")
)

// choose: hexr-raft is a raft stream, hexr-propose carries a member's proposals,
// hexr-session calls of a client; h2 without http/1.1 is gRPC; anything else is
// HTTP/JSON, which requests a certificate but does not require one.
func choose(offered []string) protocol {
	switch {
	case slices.Contains(offered, alpnRaft):
		return protoRaft
	case slices.Contains(offered, alpnPropose):
		return protoPropose
	case slices.Contains(offered, alpnSession):
		return protoSession
	case slices.Contains(offered, alpnH2) && !slices.Contains(offered, alpnHTTP):
		return protoGRPC
	}
	return protoHTTP
}

func negotiated(state tls.ConnectionState) protocol {
	switch state.NegotiatedProtocol {
	case alpnRaft:
		return protoRaft
	case alpnPropose:
		return protoPropose
	case alpnSession:
		return protoSession
	case alpnH2:
		return protoGRPC
	}
	return protoHTTP
}

// serverConfig picks the protocol's configuration for each hello. What only nodes
// speak fails in the handshake for want of a certificate: the other protocols can say
// so in their own words.
func serverConfig(t TLS, p *paces, held *holds, h *handshakes, turns *hellos) *tls.Config {
	raft := t.Server([]string{alpnRaft}, true)
	propose := t.Server([]string{alpnPropose}, true)
	session := t.Server([]string{alpnSession}, false)
	grpc := t.Server([]string{alpnH2}, false)
	http := t.Server([]string{alpnHTTP}, false)
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			proto := choose(hello.SupportedProtos)
			if from := source(hello.Conn); !p.allow(from, proto, time.Now()) {
				held.hold(hello.Context(), from, func() { h.end(hello.Conn) }) // it takes no place of those that go on
				return nil, errPaced
			}
			if err := turns.begin(hello.Context(), hello.Conn); err != nil {
				return nil, err
			}
			switch proto {
			case protoRaft:
				return raft, nil
			case protoPropose:
				return propose, nil
			case protoSession:
				return session, nil
			case protoGRPC:
				return grpc, nil
			}
			return http, nil
		},
	}
}
