package cluster

import (
	"bytes"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// hello is the first message of a real client.
func hello(f testing.TB, cfg *tls.Config) []byte {
	f.Helper()
	near, far := net.Pipe()
	go func() { _ = tls.Client(near, cfg).Handshake() }()
	defer func() { _ = near.Close() }()
	buf := make([]byte, 16<<10)
	n, err := far.Read(buf)
	if err != nil {
		f.Fatal(err)
	}
	return buf[:n]
}

// FuzzHello: no first bytes of a connection make the listener panic, or get
// through.
func FuzzHello(f *testing.F) {
	client := newTLS("agent/a", longLived)
	for _, alpn := range [][]string{{alpnRaft}, {alpnH2}, {alpnHTTP}, {alpnH2, alpnHTTP}, nil} {
		f.Add(hello(f, client.Client("", alpn...)))
	}
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	free, err := newPaces(Limits{HandshakeRate: 1 << 30}.withDefaults())
	if err != nil {
		f.Fatal(err)
	}
	held, err := newHolds(Limits{}.withDefaults())
	if err != nil {
		f.Fatal(err)
	}
	cfg := serverConfig(newTLS("node/n1", longLived), free, held, &handshakes{}, newHellos())
	f.Fuzz(func(t *testing.T, first []byte) {
		conn := tls.Server(&script{in: bytes.NewReader(first)}, cfg)
		if conn.Handshake() == nil {
			t.Fatal("a handshake was finished without a key")
		}
	})
}

// script is a connection on which everything was said before.
type script struct{ in *bytes.Reader }

func (s *script) Read(p []byte) (int, error)       { return s.in.Read(p) }
func (s *script) Write(p []byte) (int, error)      { return len(p), nil }
func (s *script) Close() error                     { return nil }
func (s *script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// FuzzALPN: raft and gRPC are only what says so exactly.
func FuzzALPN(f *testing.F) {
	f.Add("hexr-raft")
	f.Add("h2,http/1.1")
	f.Add("h2,HEXR-RAFT")
	f.Fuzz(func(t *testing.T, list string) {
		offered := strings.Split(list, ",")
		switch choose(offered) {
		case protoRaft:
			if !slices.Contains(offered, alpnRaft) {
				t.Fatal("raft that nobody offered")
			}
		case protoGRPC:
			if !slices.Contains(offered, alpnH2) || slices.Contains(offered, alpnHTTP) {
				t.Fatal("gRPC that nobody offered")
			}
		}
	})
}
