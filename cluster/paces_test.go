package cluster

import (
	"testing"
	"time"
)

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
	if allowed < 2 || allowed > 10 { // two at once, and one a second
		t.Errorf("%d of 100 are allowed", allowed)
	}
	if !p.allow("10.0.0.1", protoRaft) || !p.allow("10.0.0.2", protoHTTP) {
		t.Error("another protocol, or address, has to wait too")
	}
}

// TestPacedHandshakeFails: beyond its pace a client gets an alert, after it was held.
func TestPacedHandshakeFails(t *testing.T) {
	l := listen(t, newTLS("node/n1", longLived), newMembers(), Limits{HandshakeRate: 1})
	for range 20 {
		began := time.Now()
		if _, err := dialTLS(t, l, nobody, alpnHTTP); err != nil {
			if took := time.Since(began); took < holdTime/2 {
				t.Errorf("it may come again after %s", took)
			}
			return
		}
	}
	t.Error("all handshakes were answered")
}
