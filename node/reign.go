package node

import (
	"context"
	"sync"
)

// reign is the time in which one node leads, as far as this one knows. What was proposed
// to a leader that hangs or is cut off ends, its outcome unknown, once another one leads:
// it would wait for as long as a call may take.
type reign struct {
	mu     sync.Mutex
	leader string
	ctx    context.Context
	end    context.CancelFunc
}

// begin ends the reign before, if another one led. No leader is no other one: the old one
// may still answer.
func (r *reign) begin(ctx context.Context, leader string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if leader == "" || leader == r.leader {
		return
	}
	if r.end != nil {
		r.end()
	}
	r.leader = leader
	r.ctx, r.end = context.WithCancel(ctx)
}

// of is ended with a leader's reign, or with ctx where it is not known to lead: it is
// about to, or did.
func (r *reign) of(ctx context.Context, leader string) context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	if leader == r.leader {
		return r.ctx
	}
	return ctx
}
