package cluster

import (
	"context"
	"log/slog"
	"time"

	"github.com/hexrdev/hexrd/cluster/clusterpb"
)

const (
	autopilotInterval = 300 * time.Millisecond
	// caughtUp is how many entries a non-voter may lack when it is promoted.
	caughtUp = 16
	// steady is how often in a row it must have been that close.
	steady = 2
)

// Leadership is the replica as the autopilot sees it.
type Leadership interface {
	IsLeader() bool
	Applied() uint64 // FSM index
	Members() []*clusterpb.Member
	Promote(context.Context, *clusterpb.Member) error
}

// Autopilot makes voters of the non-voters whose FSM has caught up. Raft's own
// index tells only what was queued, so the FSMs' are compared.
type Autopilot struct {
	Cluster  Leadership
	Peers    *Peers
	Logger   *slog.Logger
	Interval time.Duration // 0: 300 ms
}

// Run works until ctx ends; it does nothing on a node that does not lead.
func (a Autopilot) Run(ctx context.Context) {
	if a.Interval == 0 {
		a.Interval = autopilotInterval
	}
	tick := time.NewTicker(a.Interval)
	defer tick.Stop()
	near := map[string]int{}
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if !a.Cluster.IsLeader() {
			clear(near)
			continue
		}
		for _, m := range a.Cluster.Members() {
			if !m.GetVoter() {
				a.consider(ctx, m, near)
			}
		}
	}
}

func (a Autopilot) consider(ctx context.Context, m *clusterpb.Member, near map[string]int) {
	want := a.Cluster.Applied()
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	status, err := a.Peers.Status(ctx, m.GetId(), m.GetAddress(), "")
	if err != nil || status.GetApplied()+caughtUp < want {
		near[m.GetId()] = 0
		return
	}
	if near[m.GetId()]++; near[m.GetId()] < steady {
		return
	}
	if err := a.Cluster.Promote(ctx, m); err != nil {
		a.Logger.Warn("a node that has caught up was not promoted; it is tried again", "node", m.GetId())
		return
	}
	a.Logger.Info("a node has caught up and votes now", "node", m.GetId())
}
