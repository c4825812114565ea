package node

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// dialled answers dials with one error after the other, the last for ever.
type dialled struct {
	raft.StreamLayer
	errs []error
}

func (d *dialled) Dial(raft.ServerAddress, time.Duration) (net.Conn, error) {
	err := d.errs[0]
	if len(d.errs) > 1 {
		d.errs = d.errs[1:]
	}
	if err != nil {
		return nil, err
	}
	conn, _ := net.Pipe()
	return conn, nil
}

// TestRefuses: an end shows as a refused dial, also where the port closes a moment
// after the streams; all else is left to raft's timers.
func TestRefuses(t *testing.T) {
	refused, reset := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	for name, c := range map[string]struct {
		errs []error
		want bool
	}{
		"refused":             {[]error{refused}, true},
		"reset, then refused": {[]error{reset, errors.New("EOF"), refused}, true},
		"accepted":            {[]error{nil}, false},
		"reset, then there":   {[]error{reset, nil}, false},
		"no answer":           {[]error{os.ErrDeadlineExceeded}, false},
	} {
		n := &Node{cfg: Config{Stream: &dialled{errs: c.errs}}}
		if got := n.refuses(t.Context(), "x"); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestLeaderIsMissed: followers notice the end of the leader's process by
// themselves, long before raft's timers.
func TestLeaderIsMissed(t *testing.T) {
	const timeout = 30 * time.Second
	g := newGroup(t, LogStoreBolt)
	g.voters()
	first := g.leader().cfg.ID
	var others []string
	for _, id := range []string{"n1", "n2", "n3"} {
		if id != first {
			others = append(others, id)
			g.stop(id)
		}
	}
	g.stop(first)                                                                    // last: no log is longer than its
	g.timers = Timers{Heartbeat: 2 * timeout, Election: 2 * timeout, Lease: timeout} // of the others, from now on
	for _, id := range others {
		g.start(id, false, false)
	}
	g.timers = Timers{}
	g.start(first, false, false)
	g.until("all to follow", func() bool {
		for id := range g.addrs {
			if leader, _ := g.node(id).Leader(); leader != first {
				return false
			}
		}
		return true
	})
	began := time.Now()
	g.stop(first)
	err := g.put(g.leader(), "k")
	if took := time.Since(began); err != nil || took > timeout {
		t.Errorf("%v, after %s", err, took)
	}
}
