package hexrd

import (
	"context"
	"net"

	"github.com/hexrdev/hexrd/api"
)

// sessions serves the connections of callers that carry calls by themselves.
type sessions struct {
	listener net.Listener
	ctx      context.Context
	cut      context.CancelFunc
	done     chan struct{} // closed: the last has ended
}

func (s *Server) newSessions() *sessions {
	c := &sessions{listener: s.listener.Sessions(), done: make(chan struct{})}
	c.ctx, c.cut = context.WithCancel(context.WithoutCancel(s.ctx)) // stop ends them, not the first sign of an end
	return c
}

func (c *sessions) serve(a *api.Server) error {
	defer close(c.done)
	return a.ServeSessions(c.ctx, c.listener)
}

// stop lets what is under way be answered, until ctx ends. api.EndStreams came before.
func (c *sessions) stop(ctx context.Context) {
	_ = c.listener.Close()
	defer c.cut()
	select {
	case <-c.done:
	case <-ctx.Done():
	}
}
