package cluster

import (
	"context"
	"net"
	"testing"
	"time"
)

// TestHeldHandshakes: so many are held, no more; and none longer than its listener.
func TestHeldHandshakes(t *testing.T) {
	h, err := newHolds(Limits{Connections: 8, HandshakeRate: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	begun, ended := make(chan struct{}, 8), make(chan struct{}, 8)
	for range 8 {
		go func() {
			h.hold(ctx, "10.0.0.1", func() { begun <- struct{}{} })
			ended <- struct{}{}
		}()
	}
	for range 6 {
		<-ended
	}
	if len(begun) != 2 || len(h.slots) != 2 {
		t.Errorf("%d began to be held, %d are", len(begun), len(h.slots))
	}
	cancel()
	<-ended
	<-ended
}

// TestHoldsEndOneByOne: hundreds that are refused together don't come again
// together, and other sources don't wait for them.
func TestHoldsEndOneByOne(t *testing.T) {
	h, err := newHolds(Limits{HandshakeRate: 100}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1000, 0)
	last := now
	for i := range 1000 {
		end := h.end("10.0.0.1", now)
		wait := end.Sub(now)
		if wait < holdTime || wait > holdLongest {
			t.Fatalf("%d waits %s", i, wait)
		}
		if gap := end.Sub(last); i > 0 && wait < holdLongest && gap < 10*time.Millisecond {
			t.Fatalf("%d ends %s after the one before", i, gap)
		}
		last = end
	}
	if wait := h.end("10.0.0.2", now).Sub(now); wait != holdTime {
		t.Errorf("another source waits %s", wait)
	}
	later := now.Add(time.Minute)
	if wait := h.end("10.0.0.1", later).Sub(later); wait != holdTime {
		t.Errorf("a minute later it waits %s", wait)
	}
}

// TestEvictedHandshakesAreHeld: who leaves handshakes unfinished is not free to come
// again as soon as one of them makes way; waiting for a turn, or for its peer.
func TestEvictedHandshakesAreHeld(t *testing.T) {
	for name, say := range map[string]func(*testing.T, net.Conn){
		"silent": func(*testing.T, net.Conn) {},
		"waiting for a turn": func(t *testing.T, c net.Conn) {
			cfg := nobody.Client("", alpnHTTP)
			if _, err := c.Write(hello(t, cfg)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t, newTLS("node/n1", longLived), newMembers(), Limits{HandshakesSource: 2})
			for range cap(l.turns.turns) {
				l.turns.turns <- struct{}{}
			}
			var conns []net.Conn
			began := time.Now()
			for range 4 {
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = c.Close() }()
				say(t, c)
				conns = append(conns, c)
			}
			gone(t, conns[0], "it makes way")
			if took := time.Since(began); took < holdTime {
				t.Errorf("it may come again after %s", took)
			}
			until(t, "the others to be left alone", func() bool { return len(l.held.slots) <= 1 })
		})
	}
}
