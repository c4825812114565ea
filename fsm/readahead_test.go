package fsm

import (
	"fmt"
	"testing"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// cool makes the next entry find nothing in the caches, and read ahead.
func cool(s *Store) {
	s.cache.rows.clear()
	s.cache.records.records.clear()
	*s.cache.reads = aheadLeast
}

// What an entry's gets and puts ask for is read before they are decided: heads, and
// where this node answers, values.
func TestReadAhead(t *testing.T) {
	const records = 20
	b := newCluster(t)
	for i := range records {
		b.one(mainID, put(fmt.Sprint("k", i), agentScope, fmt.Sprint("v", i)), fsmpb.Outcome_OUTCOME_GRANTED)
	}
	b.one(provID, put("k1", tenantScope, "v"), fsmpb.Outcome_OUTCOME_GRANTED)
	gets := func() (accesses []*fsmpb.Access) {
		for i := range records {
			accesses = append(accesses, b.access(researID, get(fmt.Sprint("k", i), "", 0)))
		}
		return accesses
	}
	accesses := append(gets(),
		b.access(researID, get("k0", agentScope, 1)), b.access(researID, get("nothing", "", 0)), b.access(foreign, get("k1", agentScope, 0)),
		b.access(mainID, put("k2", agentScope, "next")), b.access(mainID, put("new", agentScope, "first")), b.access(mainID, sweep()))
	for _, capture := range []bool{true, false} {
		cool(b.store)
		w := newWriter(reader{b.store.db, b.store.codec}, b.keys, b.store.cache)
		w.readAhead(b.store.st, &fsmpb.Entry{Accesses: accesses}, capture)
		want := records + 2 // and two that are not there
		if capture {
			want += records
		}
		if len(w.ahead) != want || w.err() != nil {
			t.Errorf("capture %v: %d rows are read ahead, want %d: %v", capture, len(w.ahead), want, w.err())
		}
	}
	cool(b.store)
	for i, r := range b.do(gets()...) {
		if got, want := string(r.GetSecret().GetSealed()), fmt.Sprint("sealed v", i); got != want {
			t.Errorf("get %d is %q, want %q", i, got, want)
		}
	}
	b.do(gets()...)
	w := newWriter(reader{b.store.db, b.store.codec}, b.keys, b.store.cache)
	w.readAhead(b.store.st, &fsmpb.Entry{Accesses: accesses}, true)
	if w.ahead != nil {
		t.Error("it reads ahead though the entry before found all in the caches")
	}
}
