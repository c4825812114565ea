package nemesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

const year = 365 * 24 * time.Hour

// clockFaults make the clock of one node at a time wrong: with a majority of wrong
// clocks no node can know what time it is.
func clockFaults() []Fault {
	return []Fault{
		{"clock-small", Clock, 2, skewed([]time.Duration{300 * time.Millisecond, 2 * time.Second, 7 * time.Second}, false)},
		{"clock-large", Clock, 2, skewed([]time.Duration{time.Minute, time.Hour, 30 * 24 * time.Hour}, false)},
		{"clock-years", Clock, 1, skewed([]time.Duration{year, 10 * year}, false)},
		{"clock-years-leader", Clock, 1, skewed([]time.Duration{10 * year}, true)},
		{"clock-strobe", Clock, 1, strobed},
	}
}

// skewed makes a clock wrong, ahead or behind.
func skewed(offsets []time.Duration, leader bool) func(context.Context, *Target, *rand.Rand) (string, error) {
	return func(ctx context.Context, t *Target, r *rand.Rand) (string, error) {
		n := some(t, r, 1)[0]
		if leader {
			n = leaderOr(ctx, t, r)
		}
		off := offsets[r.IntN(len(offsets))]
		if r.IntN(2) == 0 {
			off = -off
		}
		if err := n.SetClock(off); err != nil {
			return n.ID, err
		}
		hold(ctx, r, span{2 * time.Second, 10 * time.Second})
		return fmt.Sprintf("%s by %s", n.ID, off), n.SetClock(0)
	}
}

// strobed lets a clock jump to and fro.
func strobed(ctx context.Context, t *Target, r *rand.Rand) (string, error) {
	n := some(t, r, 1)[0]
	for range 40 {
		if ctx.Err() != nil {
			break
		}
		if err := n.SetClock(time.Duration(r.Int64N(int64(20*time.Second))) - 10*time.Second); err != nil {
			return n.ID, err
		}
		hold(ctx, r, span{20 * time.Millisecond, 150 * time.Millisecond})
	}
	return n.ID, n.SetClock(0)
}
