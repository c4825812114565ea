// Package node is one replica: raft, the batcher, propose and answer,
// leadership and snapshots around the store of package fsm.
package node

import "errors"

// ComeBack is what to do with a node whose disk can't be trusted any more.
const ComeBack = "move the data directory away, `hexrd members remove` the node, and join again under another node ID"

var (
	// ErrNoLeader: no leader is known or reachable; certainly nothing was applied.
	ErrNoLeader = errors.New("no leader")
	// ErrUnknownOutcome: what was proposed may or may not be applied. It is never
	// turned into another error; the caller tries again with the same request id.
	ErrUnknownOutcome = errors.New("the outcome is unknown")
	// ErrOverloaded: a queue is full; certainly nothing was applied.
	ErrOverloaded = errors.New("too many accesses are waiting")
	// ErrInvalid: the proposal is not one that the leader takes.
	ErrInvalid = errors.New("invalid proposal")
	// ErrStopped: the node is closing, or has failed.
	ErrStopped = errors.New("the node has stopped")
	// ErrEmpty: an empty directory without bootstrap or join. An empty node votes
	// for anyone, so it must not start.
	ErrEmpty = errors.New("the directory holds no node")
	// ErrExists: a member of that ID exists with another address.
	ErrExists = errors.New("a member of that ID exists")
	// ErrRemoved: the node was removed from the cluster.
	ErrRemoved = errors.New("this node was removed from its cluster")
	// ErrLogStore: the directory was made with another log store.
	ErrLogStore = errors.New("the log store is fixed when a node is created")
	// ErrForeign: the members that this node knows are of another cluster.
	ErrForeign = errors.New("this data directory is not of the cluster whose nodes answer at the addresses that it knows")
	// ErrGap: entries are missing between the store and the log.
	ErrGap = errors.New("entries are missing between the store and the raft log")
	// ErrLog: the raft log, or term and vote beside it, is damaged.
	ErrLog = errors.New("the raft log is damaged")
	// ErrSnapshot: a snapshot is damaged.
	ErrSnapshot = errors.New("a snapshot is damaged")
	// ErrDisk: the disk failed or hangs.
	ErrDisk = errors.New("the disk failed or hangs")
)

// NotLeaderError is certain: nothing was applied. It says who leads, if known.
type NotLeaderError struct{ LeaderID, LeaderAddr string }

func (e *NotLeaderError) Error() string { return "another node leads" }
