package cluster

import (
	"errors"
	"sync/atomic"
	"time"
)

const (
	beatEvery  = 250 * time.Millisecond
	pauseLimit = 3 * time.Second
)

var errPaused = errors.New("the process was paused: what it was about to say may not hold any more")

// pulse notices that the process was paused: stopped, or without a processor. What
// a paused node was about to answer was decided before the pause; since then its
// caller may have been blocked, and the node does not know of it yet.
type pulse struct {
	start time.Time
	limit time.Duration
	last  atomic.Int64 // since start, by the monotonic clock
}

func newPulse(limit time.Duration) *pulse { return &pulse{start: time.Now(), limit: limit} }

func (p *pulse) missed() bool { return time.Since(p.start)-time.Duration(p.last.Load()) > p.limit }

// run beats until done is closed. After a pause it calls paused before it does:
// until then missed is true for everyone.
func (p *pulse) run(done <-chan struct{}, paused func()) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		if p.missed() {
			paused()
		}
		p.last.Store(int64(time.Since(p.start)))
		select {
		case <-tick.C:
		case <-done:
			return
		}
	}
}
