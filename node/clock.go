package node

import (
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	maxOffset = 5 * time.Second
	heardFor  = time.Minute
)

var errClock = errors.New("the clock is more than 5 s from the others'")

// clock compares this node's clock with those of the nodes that propose to it. A
// leader that is far from the median must not stamp entries.
type clock struct {
	mu      sync.Mutex
	offsets map[string]reading
}

type reading struct{ offset, at int64 }

func newClock() *clock { return &clock{offsets: map[string]reading{}} }

func (c *clock) heard(node string, theirs, now int64) {
	if theirs == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offsets[node] = reading{theirs - now, now}
}

// check returns errClock when the median of all clocks, this one included, is
// too far away.
func (c *clock) check() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now().UnixNano()
	offsets := []int64{0}
	for node, r := range c.offsets {
		if now-r.at > int64(heardFor) {
			delete(c.offsets, node)
			continue
		}
		offsets = append(offsets, r.offset)
	}
	slices.Sort(offsets)
	median := offsets[len(offsets)/2]
	if len(offsets)%2 == 0 { // the nearer of the two in the middle: one other node is no majority
		if other := offsets[len(offsets)/2-1]; max(other, -other) < max(median, -median) {
			median = other
		}
	}
	if max(median, -median) > int64(maxOffset) {
		return errClock
	}
	return nil
}
