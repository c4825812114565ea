package cluster

import "testing"

// TestHandshakesArePaced: one address begins so many handshakes of a protocol; its
// raft streams, and other addresses, have their own.
func TestHandshakesArePaced(t *testing.T) {
	p, err := newPaces(Limits{HandshakeRate: 1})
	if err != nil {
		t.Fatal(err)
	}
	allowed := 0
	for range 100 {
		if p.allow("10.0.0.1", protoHTTP) {
			allowed++
		}
	}
	if allowed < 4 || allowed > 12 { // four at once, and one a second
		t.Errorf("%d of 100 are allowed", allowed)
	}
	if !p.allow("10.0.0.1", protoRaft) || !p.allow("10.0.0.2", protoHTTP) {
		t.Error("another protocol, or address, has to wait too")
	}
}

// TestPacedHandshakeFails: beyond its pace a client gets an alert, at once.
func TestPacedHandshakeFails(t *testing.T) {
	l := listen(t, newTLS("node/n1", longLived), newMembers(), Limits{HandshakeRate: 1})
	failed := 0
	for range 20 {
		if _, err := dialTLS(t, l, nobody, alpnHTTP); err != nil {
			failed++
		}
	}
	if failed == 0 {
		t.Error("all handshakes were answered")
	}
}
