package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// TestSweepKeepsUp: as many requests end as callers make, or the store would grow for
// as long as they write.
func TestSweepKeepsUp(t *testing.T) {
	const entries, each = 50, 100
	g := newGroup(t, "wal")
	n := g.start("n1", true, false)
	g.leader()
	for range entries {
		puts := make([]*fsmpb.Access, each)
		for i := range puts {
			puts[i] = putOf(fmt.Sprintf("k/%d", i))
			asAgent(puts[i])
		}
		results, _, err := n.Do(t.Context(), puts)
		g.must(err)
		for _, r := range results {
			if r.GetOutcome() != fsmpb.Outcome_OUTCOME_GRANTED {
				t.Fatal(r.GetOutcome())
			}
		}
	}
	due := func() bool { return n.Store().SweepDue(n.cfg.Now().UnixNano()) }
	if due() {
		t.Error("a request ended too early")
	}
	g.shift(11*time.Minute, "n1")
	g.until("the requests to end", func() bool { return !due() })
}
