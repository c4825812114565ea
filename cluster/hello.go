package cluster

import (
	"context"
	"net"
	"runtime"
	"sync"
)

// hellos lets few handshakes compute at once. Each takes about a millisecond of a
// processor: where hundreds come together, everything else in the process would
// stand in line behind them. Who waits for its peer holds no turn.
type hellos struct{ turns chan struct{} }

func newHellos() *hellos { return &hellos{make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))} }

func (h *hellos) take(ctx context.Context) error {
	select {
	case h.turns <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// begin waits for a turn, which ends with the first bytes that the connection
// writes: the answer to the hello.
func (h *hellos) begin(ctx context.Context, c net.Conn) error {
	if err := h.take(ctx); err != nil {
		return err
	}
	if a, ok := c.(*answering); ok {
		a.turn(h)
	} else {
		<-h.turns
	}
	return nil
}

// do waits for a turn that lasts as long as compute.
func (h *hellos) do(ctx context.Context, compute func()) error {
	if err := h.take(ctx); err != nil {
		return err
	}
	defer func() { <-h.turns }()
	compute()
	return nil
}

// answering is a connection in its handshake.
type answering struct {
	net.Conn
	mu   sync.Mutex
	held *hellos // whose turn it has; or nil
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
