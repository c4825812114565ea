package node

import (
	"context"
	"time"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const (
	sweepEvery = time.Second // how often a leader looks whether something has ended
	sweepLimit = 400         // of one entry
	sweepRest  = 3           // times as long as the entry took
)

// sweeping ends, while this node leads, what time has ended.
func (n *Node) sweeping(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for n.sweep(ctx) {
		}
	}
}

// sweep reports whether there is more to end, after a rest. Each mutation leaves a
// request to end, so there is no other bound: what ended more slowly than callers write
// would pile up. The rest leaves them three quarters of what the cluster can do, at
// least.
func (n *Node) sweep(ctx context.Context) (more bool) {
	if id, _ := n.Leader(); id != n.cfg.ID || !n.store.Ready() || !n.store.SweepDue(n.cfg.Now().UnixNano()) {
		return false
	}
	begin := time.Now()
	within, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	results, _, err := n.Do(within, []*fsmpb.Access{{
		Caller: "spiffe://" + n.store.TrustDomain() + "/hexr/node/" + n.cfg.ID, Svid: fsmpb.SVIDKind_SVID_KIND_NONE,
		Op: &fsmpb.Access_Sweep{Sweep: &fsmpb.Sweep{Limit: sweepLimit}},
	}})
	if err != nil || !results[0].GetSwept().GetMore() {
		return false
	}
	return rest(ctx, sweepRest*time.Since(begin))
}
