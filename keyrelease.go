package hexrd

import (
	"context"
	"sync"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/cluster"
	"github.com/hexrdev/hexrd/cluster/clusterpb"
	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

// Key hands one key to a member: the log decides that it is one, and has the row,
// before the key leaves.
func (r replica) Key(ctx context.Context, p cluster.Peer, req *clusterpb.KeyRequest) ([]byte, error) {
	kind := seal.KeyKind(req.GetKind())
	if fsm.KeyKind(kind) == fsmpb.Key_KIND_UNSPECIFIED || req.GetKeyId() == 0 {
		return nil, &cluster.RefusalError{Kind: clusterpb.Refusal_KIND_INVALID, Message: "unknown kind of key"}
	}
	if !r.keys.ring.Has(kind, req.GetKeyId()) {
		return nil, &cluster.RefusalError{Kind: clusterpb.Refusal_KIND_UNAVAILABLE, Message: "this node does not hold the key"}
	}
	release := &fsmpb.KeyRelease{Kind: fsm.KeyKind(kind), KeyId: req.GetKeyId()}
	if _, err := r.decide(ctx, p, p.Addr, &fsmpb.Access{Op: &fsmpb.Access_KeyRelease{KeyRelease: release}}); err != nil {
		return nil, err
	}
	return r.keys.ring.ExportKey(kind, req.GetKeyId())
}

// KeyUse is what this node has sealed with storage keys that seal no more.
func (r replica) KeyUse(ctx context.Context) ([]*clusterpb.StorageKeyUse, error) {
	return r.storageUse(ctx)
}

// KeyUses asks every member what it has sealed with storage keys that seal no
// more.
func (b backend) KeyUses(ctx context.Context) map[uint32][]*hexrv1.KeyUse {
	var (
		mu  sync.Mutex
		out = map[uint32][]*hexrv1.KeyUse{}
	)
	b.each(ctx, func(ctx context.Context, _ int, srv *fsmpb.Server) {
		ask := func() ([]*clusterpb.StorageKeyUse, error) { return b.peers.KeyUse(ctx, srv.GetId(), srv.GetAddress()) }
		if srv.GetId() == b.nodeID {
			ask = func() ([]*clusterpb.StorageKeyUse, error) { return b.storageUse(ctx) }
		}
		uses, err := ask()
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			out[0] = append(out[0], &hexrv1.KeyUse{Node: srv.GetId()})
			return
		}
		for _, u := range uses {
			out[u.GetKeyId()] = append(out[u.GetKeyId()], &hexrv1.KeyUse{
				Node: srv.GetId(), Answered: true, Rows: u.GetRows(), LogEntries: u.GetLogEntries(), Snapshots: u.GetSnapshots(),
			})
		}
	})
	return out
}
