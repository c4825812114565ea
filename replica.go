package hexrd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"

	"github.com/hexrdev/hexrd/api"
	"github.com/hexrdev/hexrd/cluster"
	"github.com/hexrdev/hexrd/cluster/clusterpb"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/internal/fault"
	"github.com/hexrdev/hexrd/node"
)

// replica answers the other nodes (cluster.Backend) with this node's replica.
type replica struct{ *Server }

func (r replica) ClusterID() [16]byte { return r.keys.ring.ClusterID() }

func (r replica) IsMember(id string) bool { return r.admission.IsMember(id) }

func (r replica) Propose(ctx context.Context, from string, proposal []byte) ([]byte, error) {
	reply, err := r.node.HandlePropose(ctx, from, proposal)
	return reply, refusal(err)
}

// Join admits a node: one access that consumes its token, one that records the
// release of the keyring; only then the keyring leaves.
func (r replica) Join(ctx context.Context, p cluster.Peer, req *clusterpb.JoinRequest, remote string) (*clusterpb.JoinResponse, error) {
	join := &fsmpb.Join{Address: req.GetAddress(), AuditKey: req.GetAuditKey()}
	if len(req.GetToken()) > 0 {
		hash, err := api.TokenHash(string(req.GetToken()))
		if err != nil {
			return nil, &cluster.RefusalError{Kind: clusterpb.Refusal_KIND_DENIED, Message: err.Error()}
		}
		join.TokenHash = hash[:]
	}
	if err := resolvable(ctx, req.GetAddress()); err != nil {
		return nil, &cluster.RefusalError{Kind: clusterpb.Refusal_KIND_INVALID, Message: "the address to join with can't be resolved here: set --advertise"}
	}
	grant, err := r.decide(ctx, p, remote, &fsmpb.Access{Op: &fsmpb.Access_Join{Join: join}})
	if err != nil {
		return nil, err
	}
	if _, err := r.decide(ctx, p, remote, &fsmpb.Access{Op: &fsmpb.Access_KeyRelease{KeyRelease: &fsmpb.KeyRelease{}}}); err != nil {
		return nil, err
	}
	exported, err := r.keys.ring.Export()
	if err != nil {
		return nil, fmt.Errorf("export keyring: %w", err)
	}
	resp := &clusterpb.JoinResponse{ClusterId: grant.GetJoinGrant().GetClusterId(), Keyring: exported}
	for _, srv := range r.node.Store().Configuration().GetServers() {
		resp.Members = append(resp.Members, &clusterpb.Member{Id: srv.GetId(), Address: srv.GetAddress(), Voter: srv.GetVoter()})
	}
	return resp, nil
}

// resolvable reports whether this node could dial that address.
func resolvable(ctx context.Context, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	_, err1 := net.DefaultResolver.LookupHost(ctx, host)
	_, err2 := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	return errors.Join(err1, err2)
}

// decide puts one access of a node through the log; anything but granted is a
// refusal.
func (r replica) decide(ctx context.Context, p cluster.Peer, remote string, a *fsmpb.Access) (*fsmpb.Result, error) {
	a.Caller, a.Svid, a.Expires, a.Peer = p.ID, fsmpb.SVIDKind_SVID_KIND_X509, p.NotAfter.UnixNano(), remote
	return r.do(ctx, a)
}

// record puts an access of hexrd itself, in the name of a node, through the log.
func (s *Server) record(ctx context.Context, nodeID string, a *fsmpb.Access) error {
	a.Caller, a.Svid = nodeSPIFFEID(s.td, nodeID), fsmpb.SVIDKind_SVID_KIND_NONE
	_, err := s.do(ctx, a)
	return err
}

func (s *Server) do(ctx context.Context, a *fsmpb.Access) (*fsmpb.Result, error) {
	a.RequestId = make([]byte, 16)
	if _, err := rand.Read(a.RequestId); err != nil {
		return nil, err
	}
	results, index, err := s.node.Do(ctx, []*fsmpb.Access{a})
	if err != nil {
		return nil, refusal(err)
	}
	switch o := results[0].GetOutcome(); o {
	case fsmpb.Outcome_OUTCOME_GRANTED, fsmpb.Outcome_OUTCOME_REPLAYED:
	default:
		return nil, &cluster.RefusalError{Kind: clusterpb.Refusal_KIND_DENIED, Message: denial(o)}
	}
	return results[0], s.node.Store().WaitApplied(ctx, index)
}

func denial(o fsmpb.Outcome) string {
	switch o {
	case fsmpb.Outcome_OUTCOME_EXPIRED:
		return "the node's SVID has expired"
	case fsmpb.Outcome_OUTCOME_BLOCKED:
		return "the node is blocked: an operator can `hexrd unblock` it"
	case fsmpb.Outcome_OUTCOME_CONFLICT:
		return "a member of this ID exists with another address or audit key: " +
			"use another node ID, or `hexrd members remove` the old one first"
	case fsmpb.Outcome_OUTCOME_STALE:
		return "the request is too old: try again"
	case fsmpb.Outcome_OUTCOME_NOT_FOUND:
		return "there is no such member or key"
	default:
		return "the token is not one for this node, or is used or expired, or the ID was removed: " +
			"make a new one with `hexrd token create NODE-ID`"
	}
}

// Enter adds an admitted node to raft, as a non-voter.
func (r replica) Enter(ctx context.Context, nodeID string, req *clusterpb.EnterRequest) error {
	m, ok := r.node.Store().Member(nodeID)
	if !ok || m.GetRemoved() {
		return &cluster.RefusalError{Kind: clusterpb.Refusal_KIND_DENIED, Message: "the node was not admitted: join with a token"}
	}
	err := r.node.AddNonvoter(ctx, nodeID, req.GetAddress())
	if errors.Is(err, node.ErrExists) {
		return &cluster.RefusalError{Kind: clusterpb.Refusal_KIND_DENIED, Message: "a member of this ID exists with another address"}
	}
	return refusal(err)
}

// Status says where this node stands, without a quorum.
func (r replica) Status(_ context.Context, markOf string) (*clusterpb.StatusResponse, error) {
	st, store := r.node.Status(), r.node.Store()
	resp := &clusterpb.StatusResponse{
		Id: r.nodeID, Role: st.Role, LeaderId: st.LeaderID, Term: st.Term, LastIndex: st.LastIndex,
		Applied: store.AppliedIndex(), FsmTime: store.Time(), AuditSize: store.AuditSize(),
		Version: r.cfg.Version, Ready: r.ready(), NodeTime: fault.Now().UnixNano(),
		ConfigurationIndex: store.Configuration().GetIndex(), Disk: r.disks.own.Load(),
	}
	if markOf != "" {
		resp.Mark, resp.MarkTerm = r.node.Mark(markOf)
	}
	for _, srv := range store.Configuration().GetServers() {
		resp.Members = append(resp.Members, &clusterpb.Member{Id: srv.GetId(), Address: srv.GetAddress(), Voter: srv.GetVoter()})
	}
	return resp, nil
}

func (r replica) Root(_ context.Context, size uint64) ([]byte, error) {
	if size > r.node.Store().AuditSize() {
		return nil, &cluster.RefusalError{Kind: clusterpb.Refusal_KIND_UNAVAILABLE, Message: "the node has not applied that many rows yet"}
	}
	root, err := r.node.Store().Root(size)
	if err != nil {
		return nil, fmt.Errorf("audit root: %w", err)
	}
	return root[:], nil
}

// Change makes a change of raft's configuration on the leader. Removal and
// transfer were decided and logged as accesses before; an address is announced
// here by the node itself.
func (r replica) Change(ctx context.Context, from string, req *clusterpb.ChangeRequest) error {
	switch req.GetKind() {
	case clusterpb.ChangeRequest_KIND_REMOVE:
		if err := r.node.CatchUp(ctx); err != nil { // who leaves as leader asks the next one
			return refusal(err)
		}
		if m, ok := r.node.Store().Member(req.GetNodeId()); ok && !m.GetRemoved() {
			return &cluster.RefusalError{Kind: clusterpb.Refusal_KIND_DENIED, Message: "the removal is not in the log"}
		}
		return refusal(r.node.RemoveServer(ctx, req.GetNodeId()))
	case clusterpb.ChangeRequest_KIND_TRANSFER:
		return refusal(r.node.Transfer(ctx, req.GetNodeId()))
	case clusterpb.ChangeRequest_KIND_ADDRESS:
		if !r.leads() { // it says who does
			return refusal(r.node.UpdateAddress(ctx, from, req.GetAddress()))
		}
		announce := &fsmpb.Access{Op: &fsmpb.Access_MemberAnnounce{MemberAnnounce: &fsmpb.MemberAnnounce{Address: req.GetAddress()}}}
		if err := r.record(ctx, from, announce); err != nil {
			return err
		}
		return refusal(r.node.UpdateAddress(ctx, from, req.GetAddress()))
	default:
		return &cluster.RefusalError{Kind: clusterpb.Refusal_KIND_INVALID, Message: "unknown change"}
	}
}

// ready: a leader is known, and what the log held at start is applied.
func (s *Server) ready() bool {
	ok, _ := s.healthy()
	return ok
}

func (s *Server) leads() bool {
	id, _ := s.node.Leader()
	return id == s.nodeID
}
