package node

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// dialLost is how long it is tried to reach a leader whose stream has ended.
	dialLost  = 300 * time.Millisecond
	dialPause = 10 * time.Millisecond
	// standApart is what lies between the candidacies of two followers: those that
	// stand together split the votes.
	standApart = 250 * time.Millisecond
	standTries = 8
)

// watchLeader notices that the leader's process has ended: the system closes its
// streams, and refuses new ones. Raft alone would wait for its timers, which must
// be longer than a slow disk's sync, and then lose a round, since a follower that
// has not noticed yet refuses its vote. A leader that is paused, cut off or on a
// machine that is gone is left to the timers.
func (n *Node) watchLeader(ctx context.Context) {
	for {
		select {
		case <-n.streams.ended:
		case <-ctx.Done():
			return
		}
		if id, addr := n.Leader(); id != "" && id != n.cfg.ID && n.refuses(ctx, addr) {
			n.succeed(ctx, id)
		}
	}
}

// refuses reports that nobody listens at an address. A process that ends may close its
// streams before its port: who dials in between is reset, and is to ask again.
func (n *Node) refuses(ctx context.Context, addr string) bool {
	for end := time.Now().Add(dialLost); time.Now().Before(end); {
		conn, err := n.cfg.Stream.Dial(raft.ServerAddress(addr), time.Until(end))
		if err == nil {
			_ = conn.Close()
			return false
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return true
		}
		pause := time.NewTimer(dialPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return false
		}
	}
	return false
}

// succeed stands for election, the followers one after the other in the order of
// their IDs. The first whose log is as long as the others' wins; who comes later
// sees that somebody else leads.
func (n *Node) succeed(ctx context.Context, lost string) {
	rank := n.rank(lost)
	if rank < 0 {
		return
	}
	pause, term := time.Duration(rank)*standApart, n.raft.Load().CurrentTerm()
	for range standTries {
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return
		}
		r := n.raft.Load()
		if id, _ := n.Leader(); id != "" && id != lost || r.State() != raft.Follower {
			return
		}
		if now := r.CurrentTerm(); now != term { // somebody stands, and may win
			pause, term = standApart, now
			continue
		}
		n.log.Info("the leader's process has ended: this node stands for election")
		if err := r.stand(n.cfg.ID, n.cfg.Address); err != nil {
			n.log.Warn("this node could not stand for election at once: it does after a timeout")
		}
		return
	}
}

// rank is this node's place among the voters without one; -1: it has no vote.
func (n *Node) rank(without string) int {
	var ids []string
	for _, s := range n.Servers() {
		if s.Voter && s.ID != without {
			ids = append(ids, s.ID)
		}
	}
	slices.Sort(ids)
	return slices.Index(ids, n.cfg.ID)
}
