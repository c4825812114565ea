package node

import (
	"errors"
	"testing"
	"time"
)

// TestCatchUp: who leads decides with what was committed before, not with what its
// store shows while that lags: as a new leader's does, or here one that waits for its disk.
func TestCatchUp(t *testing.T) {
	onBoth(t, func(t *testing.T, store string) {
		g, disks := gatedGroup(t, store)
		leader := g.leader()
		disk, r := disks[leader.cfg.ID], leader.raft.Load()
		before := r.CommitIndex()
		disk.shut()
		put, caught := make(chan error, 1), make(chan uint64, 1)
		go func() { put <- g.put(leader, "k") }()
		g.until("raft to count it as committed", func() bool { return r.CommitIndex() > before })
		go func() {
			if err := leader.CatchUp(t.Context()); err != nil {
				t.Error(err)
			}
			caught <- leader.Store().AppliedIndex()
		}()
		select {
		case at := <-caught:
			t.Errorf("it has caught up at %d, while %d is committed", at, r.CommitIndex())
			caught <- at
		case <-time.After(100 * time.Millisecond): // longer than without a wait
		}
		disk.open()
		if at := <-caught; at <= before {
			t.Errorf("it has caught up at %d", at)
		}
		g.must(<-put)
		for _, n := range g.nodes {
			if n != leader {
				var notLeader *NotLeaderError
				if err := n.CatchUp(t.Context()); !errors.As(err, &notLeader) {
					t.Errorf("a follower: %v", err)
				}
			}
		}
	})
}
