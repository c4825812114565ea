package node

import (
	"runtime"
	"testing"
	"weak"

	"github.com/hashicorp/raft"
)

// What is cached is the entry alone: raft's leader stores entries that are parts of
// futures, which hold the results.
func TestLogCacheKeepsNoFutures(t *testing.T) {
	type future struct {
		log    raft.Log
		result []byte
	}
	store := raft.NewInmemStore()
	c, err := newLogCache(copied{store})
	if err != nil {
		t.Fatal(err)
	}
	f := &future{raft.Log{Index: 1, Term: 2, Data: []byte("x")}, make([]byte, 1<<20)}
	kept := weak.Make(f)
	if err := c.StoreLog(&f.log); err != nil {
		t.Fatal(err)
	}
	f = nil
	runtime.GC()
	if kept.Value() != nil {
		t.Error("the result of an entry stays in memory")
	}
	if err := store.DeleteRange(1, 1); err != nil {
		t.Fatal(err)
	}
	var got raft.Log
	if err := c.GetLog(1, &got); err != nil || got.Term != 2 || string(got.Data) != "x" {
		t.Errorf("%+v, %v", got, err)
	}
	if c.IsMonotonic() != isMonotonic(store) {
		t.Error("it does not say what its store says")
	}
}

// copied is a store that keeps nothing that it is given.
type copied struct{ *raft.InmemStore }

func (s copied) StoreLogs(logs []*raft.Log) error {
	for _, l := range logs {
		if err := s.StoreLog(&raft.Log{Index: l.Index, Term: l.Term, Data: l.Data}); err != nil {
			return err
		}
	}
	return nil
}
