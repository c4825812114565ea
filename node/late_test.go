package node

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// TestLateAnswers: a get that was granted before its caller was blocked, and whose
// answer comes long after, is decided anew. A change keeps its answer.
func TestLateAnswers(t *testing.T) {
	const late = 600 * time.Millisecond // more than a busy machine takes
	g := newGroup(t, LogStoreBolt)
	g.late = late
	g.voters()
	leader := g.leader()
	n := g.follower()
	g.must(g.put(leader, "k"))
	var after atomic.Pointer[func()] // runs between a decision for n and its answer
	g.answered = func(from string, _ []byte) {
		if from != n.cfg.ID {
			return
		}
		if run := after.Swap(nil); run != nil {
			(*run)()
		}
	}
	do := func(on *Node, caller string, a *fsmpb.Access) (fsmpb.Outcome, error) {
		a.Caller, a.Svid, a.Expires = caller, fsmpb.SVIDKind_SVID_KIND_X509, time.Now().Add(time.Hour).UnixNano()
		results, _, err := on.Do(t.Context(), []*fsmpb.Access{a})
		if err != nil {
			return 0, err
		}
		return results[0].GetOutcome(), nil
	}
	pause := func(then func()) {
		run := func() {
			begin := time.Now()
			then()
			g.until("the answer to be late", func() bool { return time.Since(begin) > 2*late })
		}
		after.Store(&run)
	}
	size := leader.Store().AuditSize()
	pause(func() {
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

	pause(func() {})
	token := &fsmpb.Access{Op: &fsmpb.Access_TokenCreate{TokenCreate: &fsmpb.TokenCreate{Hash: make([]byte, 32), NodeId: "n9", Ttl: int64(time.Hour)}}}
	if o, err := do(n, "spiffe://hexr.cloud/hexr/operator/ann", token); err != nil || o != fsmpb.Outcome_OUTCOME_GRANTED {
		t.Errorf("the late answer to a change: %s, %v", o, err)
	}
}
