package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	maxOffset  = 5 * time.Second
	heardFor   = time.Minute
	askTimeout = 2 * time.Second
)

var (
	errClock   = errors.New("the clock is more than 5 s from the others'")
	errUnheard = errors.New("too few members said what time they have")
)

// clock compares this node's clock with those of the others, as they tell it. A
// leader that is far from the median must not stamp entries. What others said is
// carried on by the monotonic clock, so that a jump of this node's own clock
// shows at once.
type clock struct {
	now      func() time.Time
	mu       sync.Mutex
	readings map[string]reading
}

type reading struct {
	theirs time.Time // what they said
	at     time.Time // when it was heard; with Go's monotonic reading
}

func newClock(now func() time.Time) *clock { return &clock{now: now, readings: map[string]reading{}} }

// heard notes the time that a node says it has, unix nanoseconds.
func (c *clock) heard(node string, theirs int64) {
	if theirs == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readings[node] = reading{time.Unix(0, theirs), time.Now()}
}

// offsets is how far each clock is ahead of this node's, this one's own zero
// included, ascending.
func (c *clock) offsets() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now().Round(0)
	offsets := []time.Duration{0}
	for node, r := range c.readings {
		elapsed := time.Since(r.at)
		if elapsed > heardFor {
			delete(c.readings, node)
			continue
		}
		offsets = append(offsets, r.theirs.Add(elapsed).Sub(now))
	}
	slices.Sort(offsets)
	return offsets
}

// check returns errUnheard when fewer clocks than a majority of the voters are
// known, this one included, and errClock when the median is too far away. Of two
// in the middle the one behind counts: time may stand still, but a jump ahead
// would end every SVID for good.
func (c *clock) check(majority int) error {
	offsets := c.offsets()
	if len(offsets) < majority {
		return errUnheard
	}
	if median := offsets[(len(offsets)-1)/2]; max(median, -median) > maxOffset {
		return errClock
	}
	return nil
}

// agree reports whether a majority is known and all that are known are close.
func (c *clock) agree(majority int) bool {
	offsets := c.offsets()
	return len(offsets) >= majority && offsets[len(offsets)-1]-offsets[0] <= maxOffset
}

// majority returns the other voters, and how many voters are a majority.
func (n *Node) majority() (others []Server, majority int) {
	voters := 0
	for _, s := range n.Servers() {
		if !s.Voter {
			continue
		}
		voters++
		if s.ID != n.cfg.ID {
			others = append(others, s)
		}
	}
	return others, voters/2 + 1
}

// checkClock is check with the others asked first where too few are known.
func (n *Node) checkClock(ctx context.Context) error {
	others, majority := n.majority()
	err := n.clock.check(majority)
	if errors.Is(err, errUnheard) {
		n.askClocks(ctx, others, majority)
		err = n.clock.check(majority)
	}
	return err
}

// askClocks asks all other voters what time they have, until a majority has
// answered and nobody disagrees, or all have, or it takes too long.
func (n *Node) askClocks(ctx context.Context, others []Server, majority int) {
	n.ask(ctx, others, func(s Server, standing Standing) bool {
		n.clock.heard(s.ID, standing.Time)
		return n.clock.agree(majority)
	})
}

// ask asks servers where they stand, all at once, and hands one answer after the
// other to enough until it returns true, all have answered, or it takes too long.
func (n *Node) ask(ctx context.Context, servers []Server, enough func(Server, Standing) bool) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	type answer struct {
		from     Server
		standing Standing
		err      error
	}
	answers := make(chan answer, len(servers))
	for _, s := range servers {
		n.own(func(context.Context) {
			standing, err := n.cfg.Forward.Ask(ctx, s.ID, s.Address)
			answers <- answer{s, standing, err}
		})
	}
	for range servers {
		select {
		case a := <-answers:
			if a.err == nil && enough(a.from, a.standing) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
