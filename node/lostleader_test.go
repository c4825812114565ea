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
	for _, id := range []string{"n1", "n2", "n3"} { // opened again, with these timers
		g.stop(id)
	}
	g.timers = Timers{Heartbeat: 2 * timeout, Election: 2 * timeout, Lease: timeout}
	g.start("n2", false, false)
	g.start("n3", false, false)
	g.timers = Timers{} // who stands
	g.start("n1", false, false)
	g.until("n1 to lead", func() bool { id, _ := g.node("n1").Leader(); return id == "n1" })
	g.until("all to follow", func() bool {
		id2, _ := g.node("n2").Leader()
		id3, _ := g.node("n3").Leader()
		return id2 == "n1" && id3 == "n1"
	})
	began := time.Now()
	g.stop("n1")
	err := g.put(g.leader(), "k")
	if took := time.Since(began); err != nil || took > timeout {
		t.Errorf("%v, after %s", err, took)
	}
}
