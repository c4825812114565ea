package node

import (
	"time"

	"github.com/hashicorp/raft"
)

// Status is where the replica stands. It needs no quorum.
type Status struct {
	ID, Role, LeaderID, LeaderAddr string
	Term, LastIndex, Applied       uint64
	LogStore                       string
}

// Leader is who leads, as this node knows; empty: nobody.
func (n *Node) Leader() (id, addr string) {
	r := n.raft.Load()
	if r == nil {
		return "", ""
	}
	a, i := r.LeaderWithID()
	if string(i) == n.cfg.ID && r.State() != raft.Leader {
		return "", "" // elected, but not there yet or no more
	}
	return string(i), string(a)
}

// Status of this node.
func (n *Node) Status() Status {
	s := Status{ID: n.cfg.ID, Role: "shutdown", LogStore: n.logKind, Applied: n.store.AppliedIndex()}
	r := n.raft.Load()
	if r == nil {
		return s
	}
	s.LeaderID, s.LeaderAddr = n.Leader()
	s.Term, s.LastIndex = r.CurrentTerm(), r.LastIndex()
	switch r.State() {
	case raft.Leader:
		s.Role = "leader"
	case raft.Follower:
		s.Role = "follower"
	case raft.Candidate:
		s.Role = "candidate"
	}
	return s
}

// Counts of what the replica did since it was opened.
type Counts struct {
	LogSyncs  uint64        // of the raft log's disk
	Snapshots uint64        // made here, or received
	Snapshot  time.Duration // that the last one took
}

// Counts of this node.
func (n *Node) Counts() Counts {
	c := Counts{LogSyncs: n.stores.Load(), Snapshots: n.snapshots.made.Load(), Snapshot: time.Duration(n.snapshots.took.Load())}
	if n.logKind == LogStoreBolt { // its pages, and then the page that makes them count
		c.LogSyncs *= 2
	}
	return c
}
