package hexrd

import (
	"context"
	"errors"
	"fmt"

	"github.com/hexrdev/hexrd/cluster"
	"github.com/hexrdev/hexrd/cluster/clusterpb"
	"github.com/hexrdev/hexrd/node"
)

// forwarder carries proposals to the leader over the network between nodes, and
// turns its refusals into the replica's errors. What is not certain stays
// node.ErrUnknownOutcome.
type forwarder struct{ peers *cluster.Peers }

func (f forwarder) Propose(ctx context.Context, leaderID, leaderAddr string, proposal []byte) ([]byte, error) {
	reply, err := f.peers.Propose(ctx, leaderID, leaderAddr, proposal)
	if err == nil {
		return reply, nil
	}
	var refusal *cluster.RefusalError
	if !errors.As(err, &refusal) {
		return nil, fmt.Errorf("%w: %w", node.ErrUnknownOutcome, err)
	}
	switch refusal.Kind {
	case clusterpb.Refusal_KIND_NOT_LEADER:
		return nil, &node.NotLeaderError{LeaderID: refusal.LeaderID, LeaderAddr: refusal.LeaderAddress}
	case clusterpb.Refusal_KIND_OVERLOADED:
		return nil, node.ErrOverloaded
	case clusterpb.Refusal_KIND_UNAVAILABLE:
		return nil, fmt.Errorf("%w: the leader can't be reached", node.ErrNoLeader)
	case clusterpb.Refusal_KIND_NOT_MEMBER:
		return nil, fmt.Errorf("%w: this node is not a member", node.ErrNoLeader)
	case clusterpb.Refusal_KIND_UNKNOWN_OUTCOME:
		return nil, node.ErrUnknownOutcome
	default:
		return nil, fmt.Errorf("%w: %w", node.ErrInvalid, refusal)
	}
}

// refusal is the way back: the replica's errors as the network knows them.
func refusal(err error) error {
	var notLeader *node.NotLeaderError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &notLeader):
		return &cluster.RefusalError{
			Kind: clusterpb.Refusal_KIND_NOT_LEADER, LeaderID: notLeader.LeaderID, LeaderAddress: notLeader.LeaderAddr,
		}
	case errors.Is(err, node.ErrOverloaded):
		return &cluster.RefusalError{Kind: clusterpb.Refusal_KIND_OVERLOADED, Message: "the leader's queue is full"}
	case errors.Is(err, node.ErrNoLeader), errors.Is(err, node.ErrStopped):
		return &cluster.RefusalError{Kind: clusterpb.Refusal_KIND_UNAVAILABLE, Message: "no leader"}
	case errors.Is(err, node.ErrInvalid):
		return &cluster.RefusalError{Kind: clusterpb.Refusal_KIND_INVALID, Message: err.Error()}
	default:
		return &cluster.RefusalError{Kind: clusterpb.Refusal_KIND_UNKNOWN_OUTCOME, Message: "the outcome is unknown"}
	}
}
