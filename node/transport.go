package node

import (
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/hashicorp/raft"
)

// maxPool is how many connections to a node raft keeps for later.
const maxPool = 3

// transport is raft's own, with changes. It embeds the real type: a plain wrapper
// would lose pre-vote and Close, which raft looks for by type assertion.
type transport struct {
	*raft.NetworkTransport
	log        *parallelLog
	stream     raft.StreamLayer
	replicates func(to raft.ServerID, at raft.ServerAddress, term uint64) bool // this node, as a leader
}

// SetHeartbeatHandler does not install the handler. Raft answers heartbeats on the
// transport's goroutine then, which races with the leader's loop and can make logs
// diverge (hashicorp/raft#695): here they go through its main loop as any RPC.
func (transport) SetHeartbeatHandler(func(raft.RPC)) {}

// AppendEntries tells of what is committed as far as this node's disk has it. Where the
// follower can't be reached it waits until it can.
func (t transport) AppendEntries(
	id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse,
) error {
	args.LeaderCommitIndex = t.log.durable(args.LeaderCommitIndex)
	err := t.NetworkTransport.AppendEntries(id, target, args, resp)
	if err == nil || isHeartbeat(args) || !t.reach(id, target, args.Term) {
		return err
	}
	return anew(func() error { return t.NetworkTransport.AppendEntries(id, target, args, resp) })
}

// InstallSnapshot waits until the follower can be reached.
func (t transport) InstallSnapshot(
	id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader,
) error {
	if !t.reach(id, target, args.Term) {
		return errAway
	}
	return t.NetworkTransport.InstallSnapshot(id, target, args, resp, data)
}

var errAway = errors.New("the follower can't be reached, or is none any more")

// AppendEntriesPipeline is one whose entries do the same.
func (t transport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return pipeline{p, t.log}, nil
}

// RequestVote asks again where the connection was one to a process that has ended
// since: raft keeps connections and does not look at them, and a vote that is lost so
// costs a candidate a timeout.
func (t transport) RequestVote(
	id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse,
) error {
	return anew(func() error { return t.NetworkTransport.RequestVote(id, target, args, resp) })
}

// RequestPreVote does the same.
func (t transport) RequestPreVote(
	id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse,
) error {
	return anew(func() error { return t.NetworkTransport.RequestPreVote(id, target, args, resp) })
}

// anew calls until it succeeds, or once more than there are old connections. Who does
// not answer in time, or does not listen, is not called again.
func anew(call func() error) (err error) {
	for range maxPool + 1 {
		var slow net.Error
		if err = call(); err == nil || errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &slow) && slow.Timeout() {
			return err
		}
	}
	return err
}

type pipeline struct {
	raft.AppendPipeline
	log *parallelLog
}

func (p pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	args.LeaderCommitIndex = p.log.durable(args.LeaderCommitIndex)
	return p.AppendPipeline.AppendEntries(args, resp)
}

var (
	_ raft.Transport   = transport{}
	_ raft.WithPreVote = transport{}
	_ raft.WithClose   = transport{}
)
