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
	// standTurns is how long this node waits for its turn, in times of Timers.Apart.
	standTurns = 8
	// standRefused is what lies between a candidacy that this node has refused its vote
	// and its own: others' votes may make that one leader all the same.
	standRefused = 40 * time.Millisecond
	standLook    = 10 * time.Millisecond // how often it is looked who leads by then
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
		// Raft knows no leader any more where somebody was faster, and asked for a vote.
		led := n.raft.Load().led.Load()
		if led != nil && string(led.LeaderID) != n.cfg.ID && n.refuses(ctx, string(led.LeaderAddr)) {
			n.succeed(ctx, string(led.LeaderID))
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
		if !rest(ctx, dialPause) {
			return false
		}
	}
	return false
}

// succeed stands for election, the followers one after the other in the order of
// their IDs. The first whose log is as long as the others' wins; who comes later
// sees that somebody else leads: those that stand together would split the votes. Who
// was asked for its vote and has the longer log stands next, whatever its turn.
func (n *Node) succeed(ctx context.Context, lost string) {
	rank := n.rank(lost)
	if rank < 0 {
		return
	}
	term, refused, apart := n.raft.Load().CurrentTerm(), uint64(0), n.cfg.Timers.Apart
	turn := time.Now().Add(time.Duration(rank) * apart)
	for end := turn.Add(standTurns * apart); time.Now().Before(end); {
		r := n.raft.Load()
		if id, _ := n.Leader(); id != "" && id != lost || r.State() != raft.Follower {
			return
		}
		now := r.CurrentTerm()
		if now != term { // somebody stands, and may win
			term, turn = now, time.Now().Add(apart)
		}
		if now != refused && n.refusesVote(r, now) {
			refused = now
			if soon := time.Now().Add(standRefused); soon.Before(turn) {
				turn = soon
			}
		}
		if !time.Now().Before(turn) {
			n.log.Info("the leader's process has ended: this node stands for election")
			if err := r.stand(n.cfg.ID, n.cfg.Address); err != nil {
				n.log.Warn("this node could not stand for election at once: it does after a timeout")
			}
			return
		}
		if !rest(ctx, min(time.Until(turn), standLook)) {
			return
		}
	}
}

// refusesVote reports that this node does not vote for who stands in a term, as its
// own log goes further.
func (n *Node) refusesVote(r *instance, term uint64) bool {
	var last raft.Log
	ask := r.asked.Load()
	return ask != nil && ask.Term == term && n.logs.GetLog(r.LastIndex(), &last) == nil && isBehind(ask, &last)
}

// isBehind compares a candidate's log with the end of another one (Raft, section 5.4.1). A
// term that has entries has had its leader: no candidate of it is one any more.
func isBehind(ask *raft.RequestVoteRequest, last *raft.Log) bool {
	return last.Term < ask.Term && (ask.LastLogTerm < last.Term || ask.LastLogTerm == last.Term && ask.LastLogIndex < last.Index)
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
