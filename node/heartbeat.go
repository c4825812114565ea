package node

import "github.com/hashicorp/raft"

// transport is raft's own, without the fast path for heartbeats: raft answers
// those on the transport's goroutine, which races with the leader's loop and can
// make logs diverge (hashicorp/raft#695). Here they go through raft's main loop
// as any RPC. It embeds the real type: a plain wrapper would lose pre-vote and
// Close, which raft looks for by type assertion.
type transport struct{ *raft.NetworkTransport }

// SetHeartbeatHandler does not install the handler.
func (transport) SetHeartbeatHandler(func(raft.RPC)) {}

var (
	_ raft.Transport   = transport{}
	_ raft.WithPreVote = transport{}
	_ raft.WithClose   = transport{}
)
