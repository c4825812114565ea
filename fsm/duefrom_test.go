package fsm

import (
	"fmt"
	"testing"
	"time"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// TestDueFrom: a sweep begins where the one before it began to find something, not
// before all that ever ended; and what ends sooner than that is found, too.
func TestDueFrom(t *testing.T) {
	const requests, limit = 60, 20
	b := newCluster(t)
	for i := range requests {
		b.one(mainID, put(fmt.Sprint("k", i), agentScope, "v"), ok)
	}
	first := b.store.cache.due.from()
	b.now += 11 * int64(time.Minute)
	little := &fsmpb.Access{Op: &fsmpb.Access_Sweep{Sweep: &fsmpb.Sweep{Limit: limit}}}
	for i := 1; b.one(nodeID, little, ok).GetSwept().GetMore(); i++ {
		at := b.store.cache.due.from()
		if i > 1 && at <= first {
			t.Fatalf("sweep %d began at %d, the one before at %d", i, at, first)
		}
		if first = at; i > requests {
			t.Fatal("there is always more")
		}
	}
	b.one(mainID, schedule("k0", agentScope, 14*time.Hour), ok)
	b.now += 11 * int64(time.Minute)
	b.one(nodeID, sweep(), ok)
	b.one(nodeID, sweep(), ok) // it finds what is due in 14 hours
	if in := time.Duration(b.store.FirstDue() - b.now); in < 13*time.Hour || b.store.cache.due.from() != b.store.FirstDue() {
		t.Fatalf("the next thing is due in %v, %d", in, b.store.cache.due.from())
	}
	b.one(mainID, put("k1", agentScope, "v"), ok)
	b.now += 11 * int64(time.Minute)
	if !b.store.SweepDue(b.now) {
		t.Error("a request that ends before what was found is not")
	}
	b.one(nodeID, sweep(), ok)
	if b.store.SweepDue(b.now) {
		t.Error("it was not ended")
	}
}
