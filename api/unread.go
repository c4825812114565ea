package api

import (
	"context"
	"maps"
	"slices"

	"google.golang.org/grpc/stats"
)

// unreadMax bounds the answers that one caller was given over gRPC and sessions and
// has not taken. gRPC keeps what a caller does not read in memory, for as long as its
// connection lives.
const unreadMax = 32 << 20

// connection is one of a caller, of gRPC or a session. mu of the limiter guards all but
// refused.
type connection struct {
	end     context.CancelFunc
	refused int // calls; of the reading goroutine alone

	u       *usage
	close   func()
	written func() uint64 // bytes that have left
	seen    uint64        // of written
	unread  uint64        // bytes of answers that have not
}

func connectionOf(ctx context.Context) *connection {
	c, _ := ctx.Value(connectionKey{}).(*connection)
	return c
}

// settle takes off what has left since the last look. What a caller cancelled
// never leaves, and stays until the connection ends.
func (c *connection) settle() {
	now := c.written()
	left := min(now-c.seen, c.unread)
	c.seen, c.unread, c.u.unread = now, c.unread-left, c.u.unread-left
}

// answered counts an answer on its way, and ends the caller's connection that
// holds most where all hold too much.
func (p *pass) answered(c *connection, bytes int) {
	if p == nil || c == nil || p.written == nil {
		return
	}
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	if c.u == nil {
		c.u, c.close, c.written = p.u, p.close, p.written
		p.u.connections[c] = struct{}{}
	}
	c.settle()
	c.unread += uint64(bytes)
	p.u.unread += uint64(bytes)
	if p.u.unread <= unreadMax {
		return
	}
	for other := range p.u.connections {
		other.settle()
	}
	if p.u.unread > unreadMax {
		byUnread := func(a, b *connection) int { return int(a.unread) - int(b.unread) }
		go slices.MaxFunc(slices.Collect(maps.Keys(p.u.connections)), byUnread).close()
	}
}

// ended takes a connection's answers off.
func (l *limiter) ended(c *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.u != nil {
		c.u.unread -= c.unread
		delete(c.u.connections, c)
	}
}

// connections ends what belongs to a gRPC connection with it, and counts what its
// caller does not read.
type connections struct{ s *Server }

type connectionKey struct{}

func (connections) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	return context.WithValue(ctx, connectionKey{}, &connection{end: cancel})
}

func (h connections) HandleConn(ctx context.Context, event stats.ConnStats) {
	c := connectionOf(ctx)
	if _, ok := event.(*stats.ConnEnd); ok && c != nil {
		c.end()
		h.s.limits.ended(c)
	}
}

func (connections) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (h connections) HandleRPC(ctx context.Context, event stats.RPCStats) {
	out, ok := event.(*stats.OutPayload)
	if !ok {
		return
	}
	p, _ := ctx.Value(passKey{}).(*pass)
	p.answered(connectionOf(ctx), out.WireLength)
}
