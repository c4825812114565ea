package hexrd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hexrdev/hexrd/cluster"
	"github.com/hexrdev/hexrd/cluster/clusterpb"
	"github.com/hexrdev/hexrd/node"
)

// forwarder carries proposals to the leader over the network between nodes, and
// turns its refusals into the replica's errors. What is not certain stays
// node.ErrUnknownOutcome.
type forwarder struct {
	peers   *cluster.Peers
	nodeID  string // this node's
	seconds *prometheus.HistogramVec
}

func newForwarder(p *cluster.Peers, nodeID string, r *prometheus.Registry) forwarder {
	f := forwarder{peers: p, nodeID: nodeID, seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "hexrd", Name: "forward_seconds", Help: "Time until the leader answered a proposal of this node, by answer.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
	}, []string{"answer"})}
	r.MustRegister(f.seconds)
	return f
}

// Ask asks a node where it stands, and what it knows of this one.
func (f forwarder) Ask(ctx context.Context, id, addr string) (node.Standing, error) {
	status, err := f.peers.Status(ctx, id, addr, f.nodeID)
	var refusal *cluster.RefusalError
	switch {
	case errors.As(err, &refusal) && refusal.Kind == clusterpb.Refusal_KIND_NOT_MEMBER:
		return node.Standing{}, node.ErrRemoved
	case errors.As(err, &refusal) && refusal.Kind == clusterpb.Refusal_KIND_WRONG_CLUSTER:
		return node.Standing{}, node.ErrForeign
	case err != nil:
		return node.Standing{}, fmt.Errorf("%w: %w", node.ErrNoLeader, err)
	}
	s := node.Standing{
		ID: status.GetId(), Time: status.GetNodeTime(), Applied: status.GetApplied(),
		MarkIndex: status.GetMark(), MarkTerm: status.GetMarkTerm(),
	}
	for _, m := range status.GetMembers() {
		s.Members = append(s.Members, node.Server{ID: m.GetId(), Address: m.GetAddress(), Voter: m.GetVoter()})
	}
	return s, nil
}

func (f forwarder) Propose(ctx context.Context, leaderID, leaderAddr string, proposal []byte) ([]byte, error) {
	begin := time.Now()
	reply, err := f.peers.Propose(ctx, leaderID, leaderAddr, proposal)
	var refusal *cluster.RefusalError
	answer := "BROKE"
	switch {
	case err == nil:
		answer = "OK"
	case errors.As(err, &refusal):
		answer = strings.TrimPrefix(refusal.Kind.String(), "KIND_")
	}
	f.seconds.WithLabelValues(answer).Observe(time.Since(begin).Seconds())
	if err == nil {
		return reply, nil
	}
	if refusal == nil {
		return nil, fmt.Errorf("%w: %w", node.ErrUnknownOutcome, err)
	}
	switch refusal.Kind {
	case clusterpb.Refusal_KIND_NOT_LEADER:
		return nil, &node.NotLeaderError{LeaderID: refusal.LeaderID, LeaderAddr: refusal.LeaderAddress}
	case clusterpb.Refusal_KIND_OVERLOADED:
		return nil, node.ErrOverloaded
	case clusterpb.Refusal_KIND_UNAVAILABLE:
		return nil, fmt.Errorf("%w: the leader can't be reached", node.ErrNoLeader)
	case clusterpb.Refusal_KIND_NOT_MEMBER: // it lags, or this node was removed: that is told elsewhere
		return nil, fmt.Errorf("%w: the leader does not know this node", node.ErrNoLeader)
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
