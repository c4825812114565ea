package hexrd

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"sync"

	"github.com/hexrdev/hexrd/api"
	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/cluster"
	"github.com/hexrdev/hexrd/cluster/clusterpb"
	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// Sign gives this node's signature of a checkpoint: only where its own tree had
// that size after that entry, and has that root at that size.
func (r replica) Sign(ctx context.Context, req *clusterpb.SignRequest) ([]byte, error) {
	if err := r.node.Store().WaitApplied(ctx, req.GetRaftIndex()); err != nil {
		return nil, &cluster.RefusalError{Kind: clusterpb.Refusal_KIND_UNAVAILABLE, Message: "the node is behind"}
	}
	c, ok := r.checkpointAt(req.GetRaftIndex())
	if !ok {
		return nil, &cluster.RefusalError{Kind: clusterpb.Refusal_KIND_UNAVAILABLE, Message: "the entry is too long ago: ask for a new checkpoint"}
	}
	if c.Size != req.GetSize() || string(c.Root[:]) != string(req.GetRoot()) {
		r.log.Error("a member asks for the signature of a checkpoint that this node's audit tree does not have: run `hexrd audit verify`")
		return nil, &cluster.RefusalError{Kind: clusterpb.Refusal_KIND_DENIED, Message: "this node's audit tree is another"}
	}
	return c.Sign(r.nodeID, r.auditKey)
}

// checkpointAt is this node's tree after an entry of late.
func (s *Server) checkpointAt(index uint64) (audit.Checkpoint, bool) {
	store := s.node.Store()
	c := audit.Checkpoint{Cluster: store.ClusterID(), RaftIndex: index}
	size, ok := store.SizeAfter(index)
	if !ok {
		return c, false
	}
	root, err := store.Root(size)
	c.Size, c.Root = size, root
	return c, err == nil
}

// Checkpoint collects the members' signatures of the tree after an entry that
// this node applied. It takes more than half of them.
func (b backend) Checkpoint(ctx context.Context, index uint64) (*hexrv1.CheckpointResponse, error) {
	c, ok := b.checkpointAt(index)
	if !ok {
		return nil, fmt.Errorf("%w: too many entries came in between", api.ErrNoMajority)
	}
	keys := auditKeys(b.node.Store().Members(), c.Size)
	signed, err := c.Combine(b.signatures(ctx, c), keys)
	if err != nil {
		return nil, err
	}
	_, signers, err := audit.VerifyCheckpoint(signed, keys, len(keys)/2+1)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", api.ErrNoMajority, err)
	}
	return &hexrv1.CheckpointResponse{Checkpoint: string(signed), Signers: signers, Members: uint32(len(keys))}, nil
}

func (b backend) signatures(ctx context.Context, c audit.Checkpoint) [][]byte {
	req := &clusterpb.SignRequest{RaftIndex: c.RaftIndex, Size: c.Size, Root: c.Root[:]}
	var (
		mu    sync.Mutex
		notes [][]byte
	)
	b.each(ctx, func(ctx context.Context, _ int, srv *fsmpb.Server) {
		sign := func() ([]byte, error) { return b.peers.Sign(ctx, srv.GetId(), srv.GetAddress(), req) }
		if srv.GetId() == b.nodeID {
			sign = func() ([]byte, error) { return replica(b).Sign(ctx, req) }
		}
		if note, err := sign(); err == nil {
			mu.Lock()
			notes = append(notes, note)
			mu.Unlock()
		}
	})
	return notes
}

// auditKeys is the keys of who was a member when the tree had that size.
func auditKeys(members []*fsmpb.Member, size uint64) map[string]ed25519.PublicKey {
	keys := map[string]ed25519.PublicKey{}
	for _, m := range members {
		if fsm.WasMember(m, size) {
			keys[m.GetId()] = m.GetAuditKey()
		}
	}
	return keys
}
