package node

import (
	"context"
	"sync"
)

// fairQueue holds what waits to be proposed. Each caller has a line of its own, and
// they take turns: who has little waiting does not stand behind who has much. Safe
// for concurrent use; one goroutine takes out.
type fairQueue struct {
	most int

	mu    sync.Mutex
	lines map[string][]*item
	turns []string // callers with a line, whose turn it is first
	size  int
	wake  chan struct{}
}

func newFairQueue(most int) *fairQueue {
	return &fairQueue{most: most, lines: map[string][]*item{}, wake: make(chan struct{}, 1)}
}

// push adds an item to a caller's line; false: the queue is full.
func (q *fairQueue) push(caller string, it *item) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.size >= q.most {
		return false
	}
	q.size++
	if len(q.lines[caller]) == 0 {
		q.turns = append(q.turns, caller)
	}
	q.lines[caller] = append(q.lines[caller], it)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// take returns the next item; nil: none waits.
func (q *fairQueue) take() *item {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.turns) == 0 {
		return nil
	}
	caller := q.turns[0]
	q.turns = q.turns[1:]
	line := q.lines[caller]
	it := line[0]
	line[0] = nil
	q.size--
	if len(line) > 1 {
		q.lines[caller] = line[1:]
		q.turns = append(q.turns, caller)
	} else {
		delete(q.lines, caller)
	}
	return it
}

// wait returns the next item as soon as there is one; nil: ctx ended.
func (q *fairQueue) wait(ctx context.Context) *item {
	for {
		if it := q.take(); it != nil {
			return it
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			return nil
		}
	}
}
