package cluster

import (
	"context"
	"net"
	"runtime"
	"sync"
	"time"
)

// hellos lets few handshakes compute at once. Each takes about a millisecond of a
// processor: where hundreds come together, everything else in the process would
// stand in line behind them. Who waits for its peer holds no turn.
type hellos struct{ turns chan struct{} }

func newHellos() *hellos { return &hellos{make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))} }

// begin waits for a turn, which ends with the first bytes that the connection
// writes: the answer to the hello.
func (h *hellos) begin(ctx context.Context, c net.Conn) error {
	a, ok := c.(*answering)
	if !ok {
		return nil
	}
	select {
	case h.turns <- struct{}{}:
		a.turn(h)
		return nil
	case <-a.evicted:
		return errEvicted
	case <-ctx.Done():
		return ctx.Err()
	}
}

// do waits for a turn that lasts as long as compute.
func (h *hellos) do(ctx context.Context, compute func()) error {
	select {
	case h.turns <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-h.turns }()
	compute()
	return nil
}

// answering is a connection in its handshake.
type answering struct {
	net.Conn
	evicted chan struct{} // closed when it makes way for others of its source
	once    sync.Once
	mu      sync.Mutex
	held    *hellos // whose turn it has; or nil
}

func newAnswering(c net.Conn) *answering {
	return &answering{Conn: c, evicted: make(chan struct{})}
}

// evict ends the handshake, and leaves the connection open.
func (a *answering) evict() {
	a.once.Do(func() { close(a.evicted) })
	_ = a.SetDeadline(time.Unix(1, 0)) // of writes, too: no alert tells its peer
}

func (a *answering) isEvicted() bool {
	select {
	case <-a.evicted:
		return true
	default:
		return false
	}
}

func (a *answering) turn(h *hellos) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held = h
}

// end gives the turn back; again it does nothing.
func (a *answering) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held != nil {
		<-a.held.turns
		a.held = nil
	}
}

func (a *answering) Write(b []byte) (int, error) {
	a.end()
	return a.Conn.Write(b)
}
