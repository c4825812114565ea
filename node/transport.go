package node

import "github.com/hashicorp/raft"

// transport is raft's own, with two changes. It embeds the real type: a plain wrapper
// would lose pre-vote and Close, which raft looks for by type assertion.
type transport struct {
	*raft.NetworkTransport
	log *parallelLog
}

// SetHeartbeatHandler does not install the handler. Raft answers heartbeats on the
// transport's goroutine then, which races with the leader's loop and can make logs
// diverge (hashicorp/raft#695): here they go through its main loop as any RPC.
func (transport) SetHeartbeatHandler(func(raft.RPC)) {}

// AppendEntries tells of what is committed as far as this node's disk has it.
func (t transport) AppendEntries(
	id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse,
) error {
	args.LeaderCommitIndex = t.log.durable(args.LeaderCommitIndex)
	return t.NetworkTransport.AppendEntries(id, target, args, resp)
}

// AppendEntriesPipeline is one whose entries do the same.
func (t transport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return pipeline{p, t.log}, nil
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
