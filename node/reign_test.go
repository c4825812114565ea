package node

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// TestProposalsEndWithTheReign: what a leader does not answer is sent to the next one as
// soon as that leads, not after a proposal's time.
func TestProposalsEndWithTheReign(t *testing.T) {
	g := newGroup(t, LogStoreBolt)
	var hanging atomic.Bool
	held, ended := make(chan struct{}), make(chan error, 1)
	g.hold = func(ctx context.Context, _ string, p *fsmpb.Proposal) {
		if len(p.GetAccesses()) > 0 && hanging.CompareAndSwap(true, false) {
			close(held)
			<-ctx.Done()
			ended <- ctx.Err()
		}
	}
	g.voters()
	first := g.leader()
	others := g.others(first.cfg.ID)
	g.until("the others to know it", func() bool {
		id, _ := g.node(others[0]).Leader()
		return id == first.cfg.ID
	})
	hanging.Store(true)
	put := make(chan error, 1)
	go func() { put <- g.put(g.node(others[0]), "k") }()
	<-held
	g.changed("another leader", func(leader *Node) error {
		if leader != first { // by itself, on a busy machine
			return nil
		}
		return first.Transfer(t.Context(), others[1])
	})
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the proposal ended with %v", err)
	}
	g.must(<-put)
}

func TestReign(t *testing.T) {
	var r reign
	parent := t.Context()
	if r.of(parent, "n1") != parent {
		t.Error("nobody is known to lead")
	}
	r.begin(parent, "n1")
	first := r.of(parent, "n1")
	for _, same := range []string{"", "n1"} {
		if r.begin(parent, same); first.Err() != nil {
			t.Fatalf("it ended when %q led", same)
		}
	}
	if r.of(parent, "n2") != parent {
		t.Error("n2 does not lead yet")
	}
	if r.begin(parent, "n2"); first.Err() == nil || r.of(parent, "n2").Err() != nil {
		t.Error("n2 leads, and n1 does not")
	}
}
