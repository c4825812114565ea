package cluster

import (
	"context"
	"net"
	"testing"
)

// TestTurns: as many compute at once as there are turns; the first bytes that a
// connection writes give its turn back, and so does its end.
func TestTurns(t *testing.T) {
	h := &hellos{make(chan struct{}, 1)}
	here, there := net.Pipe()
	go func() { _, _ = there.Read(make([]byte, 8)) }()
	a := newAnswering(here)
	if err := h.begin(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if h.begin(gone, newAnswering(nil)) == nil || h.do(gone, func() { t.Error("it computes") }) == nil {
		t.Error("two have the one turn")
	}
	if _, err := a.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	b := newAnswering(there)
	if err := h.begin(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	b.end()
	b.end()
	if err := h.do(t.Context(), func() {}); err != nil || len(h.turns) != 0 {
		t.Errorf("%d turns are taken, %v", len(h.turns), err)
	}
}

// TestSilentPeersHoldNoTurn: who sends its hello and nothing more keeps nobody from
// a handshake.
func TestSilentPeersHoldNoTurn(t *testing.T) {
	l := listen(t, newTLS("node/n1", longLived), newMembers(), Limits{})
	cfg := nobody.Client("", alpnHTTP)
	cfg.Certificates = nil
	for range 2 * cap(l.turns.turns) {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := conn.Write(hello(t, cfg)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil { // its answer begins
			t.Fatal(err)
		}
	}
	if _, err := dialTLS(t, l, nobody, alpnHTTP); err != nil {
		t.Error(err)
	}
}
