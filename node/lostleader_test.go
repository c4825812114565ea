package node

import (
	"testing"
	"time"
)

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
