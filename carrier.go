package hexrd

import (
	"context"
	"net"
)

// carrier serves the connections of a protocol of frames: callers' sessions, or
// members' proposals.
type carrier struct {
	listener net.Listener
	cut      context.CancelFunc
	done     chan struct{} // closed: the last has ended
}

// carry serves until stop.
func (s *Server) carry(l net.Listener, serve func(context.Context, net.Listener) error) *carrier {
	ctx, cut := context.WithCancel(context.WithoutCancel(s.ctx)) // stop ends them, not the first sign of an end
	c := &carrier{listener: l, cut: cut, done: make(chan struct{})}
	s.own(func(context.Context) {
		defer close(c.done)
		s.ended(serve(ctx, l))
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
