package node

import (
	"context"
	"fmt"
	"time"

	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const lateTries = 3

// fresh returns d if it is no late answer to a read; else what is decided now. A
// node that was paused while it waited holds answers that were right then: since
// then their callers may have been blocked, and this node does not know of it
// yet. Each decision has its row. Changes are done, and are answered late.
func (n *Node) fresh(ctx context.Context, accesses []*fsmpb.Access, d decided) decided {
	for range lateTries {
		if d.err != nil || d.index == 0 || time.Since(d.sent) <= n.cfg.Timers.Late || !readOnly(accesses) {
			return d
		}
		for _, a := range accesses {
			a.Seen, a.Salt = n.store.Time(), nil
		}
		if err := n.fill(accesses); err != nil {
			return decided{err: err}
		}
		d = n.attempt(ctx, accesses)
	}
	if d.err == nil && time.Since(d.sent) > n.cfg.Timers.Late {
		d.err = fmt.Errorf("%w: the answers come too late", ErrUnknownOutcome)
	}
	return d
}

func readOnly(accesses []*fsmpb.Access) bool {
	for _, a := range accesses {
		if !fsm.ReadOnly(a) {
			return false
		}
	}
	return true
}
