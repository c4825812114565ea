package node

import (
	"context"
	"math"
	"runtime"
	"slices"
	"sync"
)

// growth was measured: at 1 there are a quarter more entries at 64 workers.
const growth = 2

// turns says when what waits may go on its way. Some batches go at once; while so
// many are under way, a further one goes only when it holds growth times as much as
// the smallest of those: under load batches grow instead of becoming many, and each
// costs the same syncs and messages however much it holds. There is no timer: the
// end of a batch lets the next one go, and an idle node adds no delay.
type turns struct {
	queue      *fairQueue
	free, most int

	mu    sync.Mutex
	under []int // accesses of each batch that is under way
	ended chan struct{}
}

func newTurns(queue *fairQueue, free, most int) *turns {
	return &turns{queue: queue, free: free, most: most, ended: make(chan struct{}, 1)}
}

// wait returns when the next batch may go; false: ctx ended. One goroutine waits. It
// lets those go first that are about to push: where none is, that takes no time.
func (t *turns) wait(ctx context.Context) bool {
	for {
		if t.queue.holds(t.need()) {
			runtime.Gosched()
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
	return growth * slices.Min(t.under)
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
