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
	allowed, now := 0, time.Unix(1000, 0)
	for range 100 {
		if p.allow("10.0.0.1", protoHTTP, now) {
			allowed++
		}
	}
	if allowed != 2 {
		t.Errorf("%d of 100 are allowed", allowed)
	}
	if !p.allow("10.0.0.1", protoRaft, now) || !p.allow("10.0.0.2", protoHTTP, now) {
		t.Error("another protocol, or address, has to wait too")
	}
}

// TestNoBurstAfterRefusal: a source that was refused saves nothing up until it is
// quiet; its rate stays.
func TestNoBurstAfterRefusal(t *testing.T) {
	p, err := newPaces(Limits{HandshakeRate: 100})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1000, 0)
	burst := func() (n int) {
		for p.allow("10.0.0.1", protoHTTP, now) {
			n++
		}
		return n
	}
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{0, 200}, {time.Second, 5}, {calmTime - time.Second, 5}, {calmTime, 200}, {time.Second, 5}} {
		now = now.Add(c.after)
		if n := burst(); n != c.want {
			t.Errorf("%s after the last: %d at once, want %d", c.after, n, c.want)
		}
	}
	passed := 0
	for range 100 {
		now = now.Add(10 * time.Millisecond)
		if p.allow("10.0.0.1", protoHTTP, now) {
			passed++
		}
	}
	if passed < 99 {
		t.Errorf("%d of 100 pass at the pace", passed)
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
