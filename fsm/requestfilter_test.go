package fsm

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// Whatever comes and goes, also with the same first bytes: what is there may be
// there; and what was there once alone is known to be.
func TestRequestFilterHoldsAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, dues := newRequestFilter(0), map[string]int{}
		f.whole = true
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			key := fmt.Sprintf("%05d-%d", rapid.IntRange(0, 3).Draw(t, "first"), rapid.IntRange(0, 2).Draw(t, "rest"))
			if rapid.Bool().Draw(t, "added") {
				f.add([]byte(key))
				dues[key]++
			} else if dues[key] > 0 {
				f.remove([]byte(key))
				dues[key]--
			}
			firsts := map[string]int{}
			for k, n := range dues {
				firsts[k[:5]] += n
			}
			for k := range dues {
				n := firsts[k[:5]]
				if f.may([]byte(k)) != (n > 0) || f.once([]byte(k)) != (n == 1) {
					t.Fatalf("%s is there %d times; may be: %v, once: %v", k[:5], n, f.may([]byte(k)), f.once([]byte(k)))
				}
			}
		}
	})
}

// A new request is not looked for once the filter is whole; an old one is found,
// also in a store that was opened again, while it is read and afterwards.
func TestRequestsAfterReopen(t *testing.T) {
	c := newCluster(t)
	const many = 3*filterLoad + 7
	first := make([]*fsmpb.Access, many)
	for i := range first {
		first[i] = c.access(mainID, put(fmt.Sprintf("p/%d", i%8), agentScope, "v"))
		c.do(first[i])
	}
	if f := c.store.cache.requests.filter; !f.whole || f.known.held != many {
		t.Fatalf("the filter knows %d of %d (whole: %v)", f.known.held, many, f.whole)
	}
	if err := c.store.Close(); err != nil {
		t.Fatal(err)
	}
	c.open(c.store.cfg.Dir)
	for i := 0; i < many; i += many / 16 {
		if r := c.do(first[i])[0]; r.GetOutcome() != fsmpb.Outcome_OUTCOME_REPLAYED {
			t.Fatalf("request %d after the reopening: %v", i, r.GetOutcome())
		}
	}
	f := c.store.cache.requests.filter
	if !f.whole || f.known.held != many {
		t.Fatalf("the filter knows %d of %d after the reopening (whole: %v)", f.known.held, many, f.whole)
	}
	if f.may(make([]byte, 32)) {
		t.Error("what is not there is looked for")
	}
}
