package hexrd

import (
	"context"
	"errors"
	"time"

	"github.com/hexrdev/hexrd/cluster"
	"github.com/hexrdev/hexrd/cluster/clusterpb"
	"github.com/hexrdev/hexrd/node"
)

const (
	removalInterval = time.Second
	removalLooks    = 3
)

// watchRemoval ends a node that was removed while it could not be told: it knows
// no leader, and most of the others don't know it. Where it is a member after all
// a restart is safe.
func (s *Server) watchRemoval(ctx context.Context) {
	tick := time.NewTicker(removalInterval)
	defer tick.Stop()
	for looks := 0; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if leader, _ := s.node.Leader(); leader != "" || !s.unknownToMost(ctx) {
			looks = 0
			continue
		}
		if looks++; looks == removalLooks {
			s.fail(node.ErrRemoved)
			return
		}
	}
}

// unknownToMost asks the others of raft's configuration as this node's log has it:
// the store may be behind.
func (s *Server) unknownToMost(ctx context.Context) bool {
	others, refused, in := 0, 0, false
	for _, srv := range s.node.Servers() {
		if srv.ID == s.nodeID {
			in = true
			continue
		}
		others++
		ctx, cancel := context.WithTimeout(ctx, peerTimeout)
		_, err := s.peers.Status(ctx, srv.ID, srv.Address, "")
		cancel()
		var refusal *cluster.RefusalError
		if errors.As(err, &refusal) && refusal.Kind == clusterpb.Refusal_KIND_NOT_MEMBER {
			refused++
		}
	}
	return in && 2*refused > others
}
