package node

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const bootstrapTimeout = 30 * time.Second

// bootstrap makes this node the only voter of a new cluster, and puts the
// cluster's first access into the log.
func (n *Node) bootstrap(ctx context.Context) error {
	conf := raft.Configuration{Servers: []raft.Server{{
		ID: raft.ServerID(n.cfg.ID), Address: raft.ServerAddress(n.cfg.Address), Suffrage: raft.Voter,
	}}}
	if err := n.raft.Load().BootstrapCluster(conf).Error(); err != nil {
		return fmt.Errorf("bootstrap raft: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, bootstrapTimeout)
	defer cancel()
	if err := n.proposeBootstrap(ctx); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	return nil
}

// finishBootstrap does the second half again where a crash came in between.
func (n *Node) finishBootstrap(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, bootstrapTimeout)
	defer cancel()
	if err := n.proposeBootstrap(ctx); err != nil && ctx.Err() == nil {
		n.log.Error("the cluster's first entry could not be written: start the node again")
	}
}

func (n *Node) proposeBootstrap(ctx context.Context) error {
	for {
		next := n.leader.wait()
		if n.store.Ready() {
			return nil
		}
		if id, _ := n.Leader(); id == n.cfg.ID {
			break
		}
		select {
		case <-next:
		case <-n.done:
			return n.failure
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := n.raft.Load().Barrier(bootstrapTimeout).Error(); err != nil {
		return err
	}
	if n.store.Ready() {
		return nil
	}
	b := n.cfg.Bootstrap
	a := &fsmpb.Access{
		Caller: "spiffe://" + b.TrustDomain + "/hexr/node/" + n.cfg.ID, Svid: fsmpb.SVIDKind_SVID_KIND_NONE,
		Op: &fsmpb.Access_Bootstrap{Bootstrap: &fsmpb.Bootstrap{
			TrustDomain: b.TrustDomain, Settings: b.Settings,
			Member: &fsmpb.Member{Id: n.cfg.ID, Address: n.cfg.Address, AuditKey: b.AuditKey},
			Keys:   fsm.KeyReports(n.cfg.Keys),
		}},
	}
	results, _, err := n.Do(ctx, []*fsmpb.Access{a})
	if err != nil {
		return err
	}
	if o := results[0].GetOutcome(); o != fsmpb.Outcome_OUTCOME_GRANTED {
		return fmt.Errorf("the first access was not granted: %s", o)
	}
	return nil
}
