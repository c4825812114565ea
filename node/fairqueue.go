package node

import "sync"

// fairQueue holds what waits to be proposed. Each caller has a line of its own, and
// they take turns: who has little waiting does not stand behind who has much. Safe
// for concurrent use; one goroutine takes out.
type fairQueue struct {
	most int

	mu    sync.Mutex
	lines map[string][]*item
	turns []string // callers with a line, whose turn it is first
	size  int      // items
	count int      // their accesses
	need  int      // of which wake tells
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
	q.count += len(it.accesses)
	if len(q.lines[caller]) == 0 {
		q.turns = append(q.turns, caller)
	}
	q.lines[caller] = append(q.lines[caller], it)
	if q.count < q.need {
		return true
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// holds reports whether so many accesses wait; if not, wake gets a value once they
// do. One goroutine asks.
func (q *fairQueue) holds(need int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.need = need
	return q.count >= need
}

// length is how many accesses wait.
func (q *fairQueue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count
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
	q.count -= len(it.accesses)
	if len(line) > 1 {
		q.lines[caller] = line[1:]
		q.turns = append(q.turns, caller)
	} else {
		delete(q.lines, caller)
	}
	return it
}
