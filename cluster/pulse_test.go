package cluster

import (
	"errors"
	"net"
	"testing"
	"time"
)

// TestNothingIsSaidAfterAPause: what a process that was paused was about to say to
// a caller does not leave it, whoever runs first when it goes on.
func TestNothingIsSaidAfterAPause(t *testing.T) {
	l := listen(t, newTLS("node/n1", longLived), newMembers("n2"), Limits{})
	open := func(as *plainTLS, queue net.Listener) *Conn {
		t.Helper()
		client, err := dialTLS(t, l, as, alpnH2)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		c, err := queue.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return c.(*Conn)
	}
	agent, node := open(newTLS("agent/a", longLived), l.GRPC()), open(newTLS("node/n2", longLived), l.Nodes())
	if _, err := agent.Write([]byte("before")); err != nil {
		t.Fatal(err)
	}
	// The pause: the last beat was long ago. The writer runs before the pulse does.
	stopped := newPulse(pauseLimit)
	stopped.start = stopped.start.Add(-time.Minute)
	running := agent.pulse
	agent.pulse = stopped
	if _, err := agent.Write([]byte("a value")); !errors.Is(err, errPaused) {
		t.Errorf("a write before the pulse: %v", err)
	}
	agent.pulse = running
	// The pulse runs first.
	done := make(chan struct{})
	go stopped.run(done, l.conns.hush)
	until(t, "the pulse to beat", func() bool { return !stopped.missed() })
	close(done)
	if _, err := agent.Write([]byte("a value")); err == nil {
		t.Error("a write after the pulse has gone through")
	}
	if _, err := node.Write([]byte("x")); err != nil {
		t.Errorf("a node's connection: %v", err)
	}
}
