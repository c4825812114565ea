package nemesis

import (
	"context"
	"math/rand/v2"

	"github.com/hexrdev/hexrd/jepsen/arena"
)

func upgradeFaults() []Fault { return []Fault{{"upgrade-one", Upgrade, 1, upgraded}} }

// upgraded gives one node the new binary, the leader last (docs/operations.md), and waits
// until it is healthy or other faults have kept it from that for long. Every second one is
// killed in place of stopped.
func upgraded(ctx context.Context, t *Target, r *rand.Rand) (string, error) {
	n := nextOutdated(ctx, t)
	if n == nil {
		return "all are", nil
	}
	detail := n.ID
	if r.IntN(2) == 0 {
		n.Stop()
	} else {
		n.Kill(false)
		detail += ", killed"
	}
	n.Upgrade()
	hold(ctx, r, down)
	if err := n.Start(); err != nil {
		return detail, err
	}
	ctx, cancel := context.WithTimeout(ctx, upLimit)
	defer cancel()
	return detail, n.WaitHealthy(ctx)
}

func nextOutdated(ctx context.Context, t *Target) (next *arena.Node) {
	leader := t.Cluster.Leader(ctx)
	for _, n := range t.Cluster.Members() {
		if n.Outdated() && (next == nil || next == leader) {
			next = n
		}
	}
	return next
}
