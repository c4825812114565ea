package hexrd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/hexrdev/hexrd/cluster"
	"github.com/hexrdev/hexrd/cluster/clusterpb"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/node"
)

const changeTimeout = 20 * time.Second

// nodeSPIFFEID is the ID of a node of the trust domain.
func nodeSPIFFEID(td spiffeid.TrustDomain, nodeID string) string {
	return "spiffe://" + td.Name() + "/hexr/node/" + nodeID
}

// promote runs the autopilot: non-voters that have caught up become voters.
func (s *Server) promote(ctx context.Context) {
	cluster.Autopilot{Cluster: autopilot{s}, Peers: s.peers, Logger: s.log}.Run(ctx)
}

type autopilot struct{ *Server }

func (a autopilot) IsLeader() bool { return a.leads() }

func (a autopilot) Applied() uint64 { return a.node.Store().AppliedIndex() }

func (a autopilot) Members() []*clusterpb.Member {
	var members []*clusterpb.Member
	for _, srv := range a.node.Store().Configuration().GetServers() {
		members = append(members, &clusterpb.Member{Id: srv.GetId(), Address: srv.GetAddress(), Voter: srv.GetVoter()})
	}
	return members
}

// Promote logs the promotion, then makes it.
func (a autopilot) Promote(ctx context.Context, m *clusterpb.Member) error {
	op := &fsmpb.Access{Op: &fsmpb.Access_MemberPromote{MemberPromote: &fsmpb.MemberPromote{NodeId: m.GetId()}}}
	if err := a.record(ctx, a.nodeID, op); err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	return a.node.AddVoter(ctx, m.GetId(), m.GetAddress())
}

// change makes a change of raft's configuration here or at whoever leads, until
// it is made, refused for good, or ctx ends.
func (s *Server) change(ctx context.Context, req *clusterpb.ChangeRequest) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	for {
		err := s.tryChange(ctx, req)
		if err == nil || final(err) {
			return err
		}
		select {
		case <-time.After(joinRetry):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

func (s *Server) tryChange(ctx context.Context, req *clusterpb.ChangeRequest) error {
	id, addr := s.node.Leader()
	switch id {
	case "":
		return node.ErrNoLeader
	case s.nodeID:
		return replica{s}.Change(ctx, s.nodeID, req)
	default:
		return s.peers.Change(ctx, id, addr, req)
	}
}

// RemoveMember takes a node out of raft; the access that decided it is logged.
func (s *Server) removeMember(ctx context.Context, id string) error {
	return s.change(ctx, &clusterpb.ChangeRequest{Kind: clusterpb.ChangeRequest_KIND_REMOVE, NodeId: id})
}

// transfer moves leadership, and returns who leads then.
func (s *Server) transfer(ctx context.Context, id string) (string, error) {
	before, _ := s.node.Leader()
	if err := s.change(ctx, &clusterpb.ChangeRequest{Kind: clusterpb.ChangeRequest_KIND_TRANSFER, NodeId: id}); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if leader, _ := s.node.Leader(); leader != "" && (leader != before || leader == id) {
			return leader, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", errors.New("leadership did not move: try again")
		}
	}
}

// Leave removes this node from the cluster for good: leadership moves on, the
// departure is logged in the node's own name, and raft forgets it. Wait
// returns then.
func (s *Server) Leave(ctx context.Context) error {
	if err := s.record(ctx, s.nodeID, &fsmpb.Access{Op: &fsmpb.Access_MemberLeave{MemberLeave: &fsmpb.MemberLeave{}}}); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	if s.leads() && len(s.node.Store().Configuration().GetServers()) > 1 {
		if _, err := s.transfer(ctx, ""); err != nil {
			return fmt.Errorf("leave: %w", err)
		}
	}
	if err := s.removeMember(ctx, s.nodeID); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	s.fail(nil) // nothing went wrong: Wait returns
	return nil
}
