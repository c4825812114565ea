package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hexrdev/hexrd/jepsen/arena"
)

// crashPoints of internal/fault; the number is how often a process may pass one
// before it dies there, at random from 1.
var crashPoints = map[string]int{
	"start.checked": 1, "log.sealed": 50, "log.stored": 50, "apply.decided": 100, "apply.committed": 100, "checkpoint.flushed": 3,
	"snapshot.written": 1, "snapshot.renamed": 1, "restore.copied": 1, "restore.moved": 1, "restore.current": 1,
	"restore.loaded": 1, "restore.restored": 1, "reopen.closed": 1, "reopen.fitted": 1,
}

var (
	down       = span{0, 3 * time.Second}
	shortPause = span{100 * time.Millisecond, 900 * time.Millisecond}
	longPause  = span{3 * time.Second, 8 * time.Second} // longer than any lease
)

// upLimit is how long the torture waits for a majority to be up again.
const upLimit = 30 * time.Second

func processFaults() []Fault {
	return []Fault{
		{"kill-one", Process, 3, killed(func(_ context.Context, t *Target, r *rand.Rand) []*arena.Node { return some(t, r, 1) })},
		{"kill-leader", Process, 3, killed(func(ctx context.Context, t *Target, r *rand.Rand) []*arena.Node {
			return []*arena.Node{leaderOr(ctx, t, r)}
		})},
		{"kill-majority", Process, 1, killed(func(_ context.Context, t *Target, r *rand.Rand) []*arena.Node {
			return some(t, r, len(t.Cluster.Members())/2+1)
		})},
		{"kill-all", Process, 1, killed(func(_ context.Context, t *Target, r *rand.Rand) []*arena.Node {
			return some(t, r, len(t.Cluster.Members()))
		})},
		{"pause-short", Process, 2, paused(shortPause, false)},
		{"pause-long", Process, 2, paused(longPause, false)},
		{"pause-leader", Process, 2, paused(longPause, true)},
		{"crash-point", Process, 3, crashed},
		{"lag", Process, 2, lagged},
	}
}

// killed kills nodes at once, and starts them again after a while.
func killed(who func(context.Context, *Target, *rand.Rand) []*arena.Node) func(context.Context, *Target, *rand.Rand) (string, error) {
	return func(ctx context.Context, t *Target, r *rand.Rand) (string, error) {
		nodes := who(ctx, t, r)
		for _, n := range nodes {
			n.Kill(false)
		}
		hold(ctx, r, down)
		return names(nodes), startAll(nodes)
	}
}

func startAll(nodes []*arena.Node) error {
	var errs []error
	for _, n := range nodes {
		errs = append(errs, n.Start())
	}
	return errors.Join(errs...)
}

func paused(s span, leader bool) func(context.Context, *Target, *rand.Rand) (string, error) {
	return func(ctx context.Context, t *Target, r *rand.Rand) (string, error) {
		n := some(t, r, 1)[0]
		if leader {
			n = leaderOr(ctx, t, r)
		}
		if err := n.Pause(); err != nil {
			return n.ID, err
		}
		hold(ctx, r, s)
		return n.ID, n.Continue()
	}
}

// crashed lets a node die at a point, mostly after it was away for a while, so
// that it has something to catch up with.
func crashed(ctx context.Context, t *Target, r *rand.Rand) (string, error) {
	points := make([]string, 0, len(crashPoints))
	for p := range crashPoints {
		points = append(points, p)
	}
	slices.Sort(points)
	point := points[r.IntN(len(points))]
	point = fmt.Sprintf("%s:%d", point, 1+r.IntN(crashPoints[point]))
	n := some(t, r, 1)[0]
	n.Kill(false)
	hold(ctx, r, down)
	n.CrashAt(point)
	err := n.Start()
	starts := n.Starts()
	hold(ctx, r, span{time.Second, 4 * time.Second})
	detail := n.ID + " at " + point
	if n.Starts() > starts {
		detail += ", came there"
	}
	return detail, err
}

// lagged keeps a node away for so long that, where the others' logs are short, it
// comes back by a snapshot.
func lagged(ctx context.Context, t *Target, r *rand.Rand) (string, error) {
	n := some(t, r, 1)[0]
	n.Kill(false)
	hold(ctx, r, span{5 * time.Second, 9 * time.Second})
	return n.ID, n.Start()
}

// tortureFaults is one kill after the other, for a whole campaign.
func tortureFaults() []Fault {
	return []Fault{{"restart-torture", Torture, 1, func(ctx context.Context, t *Target, r *rand.Rand) (string, error) {
		n := some(t, r, 1)[0]
		n.Kill(true)
		return n.ID, majorityUp(ctx, t)
	}}}
}

// majorityUp waits until most members are healthy, the one that was killed last
// or not: where a machine starts nodes more slowly than they are killed, there
// would be no load.
func majorityUp(ctx context.Context, t *Target) error {
	ctx, cancel := context.WithTimeout(ctx, upLimit)
	defer cancel()
	members := t.Cluster.Members()
	up := make(chan error, len(members))
	for _, n := range members {
		go func() { up <- n.WaitHealthy(ctx) }()
	}
	for range len(members)/2 + 1 {
		if err := <-up; err != nil {
			return err
		}
	}
	return nil
}
