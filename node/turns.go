package node

import (
	"context"
	"math"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// yieldsMost bounds what others get first.
const yieldsMost = 12

// turns says when what waits may go on its way. Some batches go at once; while so
// many are under way, a further one goes only when it holds growth times as much as
// the smallest of those: under load batches grow instead of becoming many, and each
// costs the same syncs and messages however much it holds. There is no timer: the
// end of a batch lets the next one go, and an idle node adds no delay.
type turns struct {
	queue *fairQueue
	// So many go at once, so many at most, and those between hold growth times as much.
	free, most, growth int

	mu    sync.Mutex
	under []int // accesses of each batch that is under way
	ended chan struct{}
}

func newTurns(queue *fairQueue, free, most, growth int) *turns {
	return &turns{queue: queue, free: free, most: most, growth: growth, ended: make(chan struct{}, 1)}
}

// wait returns when the next batch may go; false: ctx ended. One goroutine waits.
func (t *turns) wait(ctx context.Context) bool {
	for {
		if t.queue.holds(t.need()) {
			t.yield()
			return true
		}
		select {
		case <-t.queue.wake:
		case <-t.ended:
		case <-ctx.Done():
			return false
		}
	}
}

// yield lets those go first that are about to push: this process's goroutines, and for
// as long as that brings more what else the processor has to run, callers and other
// nodes among it. A processor that is idle returns at once; on one that is busy an
// entry holds half as much again, and what an entry costs is what keeps it busy.
func (t *turns) yield() {
	runtime.Gosched()
	held := t.queue.length()
	for range yieldsMost {
		_, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // it can't fail
		now := t.queue.length()
		if now == held {
			return
		}
		held = now
	}
}

// need is how much must wait for the next batch to go now.
func (t *turns) need() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case len(t.under) < t.free:
		return 1
	case len(t.under) >= t.most:
		return math.MaxInt
	}
	return t.growth * slices.Min(t.under)
}

// begin counts a batch as under way; end takes it back.
func (t *turns) begin(accesses int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.under = append(t.under, accesses)
}

func (t *turns) end(accesses int) {
	t.mu.Lock()
	i := slices.Index(t.under, accesses)
	t.under = slices.Delete(t.under, i, i+1)
	t.mu.Unlock()
	select {
	case t.ended <- struct{}{}:
	default:
	}
}

// sizeOf counts the accesses of a batch.
func sizeOf(batch []*item) (n int) {
	for _, it := range batch {
		n += len(it.accesses)
	}
	return n
}
