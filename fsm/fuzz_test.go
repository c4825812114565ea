package fsm

import (
	"testing"

	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

func FuzzApply(f *testing.F) {
	for _, e := range goldenEntries() {
		data, _ := deterministic.Marshal(e)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := decodeEntry(data, goldenCluster)
		if err != nil {
			return
		}
		model, st := mapTx{}, newState(goldenCluster)
		st.trustDomain, st.time = td, testStart
		for _, a := range e.GetAccesses() {
			if validateAccess(a, td) != nil {
				return
			}
		}
		results, rows := applyEntry(model, st, e, 1, 1, true)
		if len(results) != len(e.GetAccesses()) || len(rows) != len(results) {
			t.Fatal("not one row and one result for each access")
		}
		for i := range rows {
			if _, err := audit.AppendRow(nil, &rows[i]); err != nil && rows[i].Operation != 0 {
				t.Fatalf("a row does not encode: %v", err)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(mainID, "a/b", agentScope)
	f.Add(mainID, "812.3", agentScope)
	f.Fuzz(func(t *testing.T, id, path, scope string) {
		c, err := ParseCaller(id, td)
		if err == nil && c.ID != id {
			t.Fatal("an ID was changed")
		}
		if p, err := ParsePath(path); err == nil && string(p) != path {
			t.Fatal("a path was changed")
		}
		if p, err := ParsePlace(path); err == nil && p.String() != path {
			t.Fatal("a place was changed")
		}
		if s, err := parseFullScope(scope, td); err == nil && s.String() != scope {
			t.Fatal("a scope was changed")
		}
	})
}

func BenchmarkApply(b *testing.B) {
	bench := newCluster(b)
	bench.one(mainID, put("k", agentScope, "v"), ok)
	for b.Loop() {
		accesses := make([]*fsmpb.Access, 64)
		for i := range accesses {
			accesses[i] = bench.access(mainID, get("k", "", 0))
		}
		bench.do(accesses...)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/access")
}
