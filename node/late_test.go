package node

import (
	"context"
	"testing"
	"time"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// held keeps back the leader's answer to a node, as a pause of it does.
type held struct {
	*group
	after func() // runs between the decision and its answer; nil: once it ran
}

func (h *held) Propose(ctx context.Context, id, addr string, proposal []byte) ([]byte, error) {
	reply, err := h.group.Propose(ctx, id, addr, proposal)
	if run := h.after; run != nil {
		h.after = nil
		run()
	}
	return reply, err
}

// TestLateAnswers: a get that was granted before its caller was blocked, and whose
// answer comes long after, is decided anew. A change keeps its answer.
func TestLateAnswers(t *testing.T) {
	const late = 200 * time.Millisecond
	g := three(t, "bolt", Limits{})
	leader := g.leader()
	n := g.node("n1")
	if n == leader {
		n = g.node("n2")
	}
	g.must(g.put(leader, "k"))
	h := &held{group: g}
	n.cfg.Forward, n.cfg.Timers.Late = h, late
	do := func(on *Node, caller string, a *fsmpb.Access) (fsmpb.Outcome, error) {
		a.Caller, a.Svid, a.Expires = caller, fsmpb.SVIDKind_SVID_KIND_X509, time.Now().Add(time.Hour).UnixNano()
		results, _, err := on.Do(t.Context(), []*fsmpb.Access{a})
		if err != nil {
			return 0, err
		}
		return results[0].GetOutcome(), nil
	}
	pause := func(then func()) func() {
		return func() {
			begin := time.Now()
			then()
			g.until("the answer to be late", func() bool { return time.Since(begin) > 2*late })
		}
	}
	size := leader.Store().AuditSize()
	h.after = pause(func() {
		block := &fsmpb.Access{Op: &fsmpb.Access_Block{Block: &fsmpb.Block{Subject: "agent/acme/bot"}}}
		if o, err := do(leader, "spiffe://hexr.cloud/hexr/operator/ann", block); err != nil || o != fsmpb.Outcome_OUTCOME_GRANTED {
			t.Errorf("block: %s, %v", o, err)
		}
	})
	get := &fsmpb.Access{Op: &fsmpb.Access_Get{Get: &fsmpb.Get{Path: "k"}}}
	if o, err := do(n, agentID, get); err != nil || o != fsmpb.Outcome_OUTCOME_BLOCKED {
		t.Errorf("the late answer of a blocked caller: %s, %v", o, err)
	}
	if rows := leader.Store().AuditSize() - size; rows != 3 {
		t.Errorf("%d rows of a granted get, a block, and the get that was decided anew", rows)
	}

	h.after = pause(func() {})
	token := &fsmpb.Access{Op: &fsmpb.Access_TokenCreate{TokenCreate: &fsmpb.TokenCreate{Hash: make([]byte, 32), NodeId: "n9", Ttl: int64(time.Hour)}}}
	if o, err := do(n, "spiffe://hexr.cloud/hexr/operator/ann", token); err != nil || o != fsmpb.Outcome_OUTCOME_GRANTED {
		t.Errorf("the late answer to a change: %s, %v", o, err)
	}
}
