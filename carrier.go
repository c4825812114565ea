package hexrd

import (
	"context"
	"net"
)

// carrier serves the connections of a protocol of frames: callers' sessions, or
// members' proposals.
type carrier struct {
	listener net.Listener
	serve    func(context.Context, net.Listener) error
	ctx      context.Context
	cut      context.CancelFunc
	done     chan struct{} // closed: the last has ended
}

// carry serves until stop.
func (s *Server) carry(l net.Listener, serve func(context.Context, net.Listener) error) *carrier {
	c := &carrier{listener: l, serve: serve, done: make(chan struct{})}
	c.ctx, c.cut = context.WithCancel(context.WithoutCancel(s.ctx)) // stop ends them, not the first sign of an end
	s.own(func(context.Context) {
		defer close(c.done)
		s.ended(c.serve(c.ctx, c.listener))
	})
	return c
}

// stop lets what is under way be answered, until ctx ends. Of sessions api.EndStreams
// ends those that are idle.
func (c *carrier) stop(ctx context.Context) {
	_ = c.listener.Close()
	defer c.cut()
	select {
	case <-c.done:
	case <-ctx.Done():
	}
}
