package fsm

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

func TestExpect(t *testing.T) {
	b := newBench(t)
	x := &b.store.expected
	data := b.entry()
	for _, wrong := range [][]byte{nil, {}, []byte("no entry"), data[:len(data)-1]} {
		b.store.Expect(wrong, nil)
		if x.take(wrong).entry != nil {
			t.Errorf("%q was decoded", wrong)
		}
	}
	b.store.Expect(data, nil)
	if x.take(bytes.Clone(data)).entry != nil || x.take(data[:len(data)-1]).entry != nil || x.take(nil).entry != nil {
		t.Error("other bytes were expected")
	}
	if x.take(data).entry == nil {
		t.Error("an entry was not expected")
	}
	if x.take(data).entry != nil {
		t.Error("an entry is given twice")
	}
	b.store.Expect(data, nil)
	for range mostExpected {
		b.store.Expect(b.entry(), nil)
	}
	if len(x.entries) != mostExpected || x.take(data).entry != nil {
		t.Errorf("%d entries are expected, the oldest among them", len(x.entries))
	}
}

// Who expects an entry has its results before the database does, and once.
func TestExpectedResults(t *testing.T) {
	b := newCluster(t)
	data := b.entry(b.access(mainID, put("k", agentScope, "v")), b.access(mainID, get("k", agentScope, 0)))
	var early []*fsmpb.Result
	b.store.Expect(data, func(index uint64, results []*fsmpb.Result) {
		if index != b.index || b.store.AppliedIndex() != b.index-1 || early != nil {
			t.Errorf("results of entry %d, after %d is shown, and before them %v", index, b.store.AppliedIndex(), early)
		}
		early = results
	})
	b.index++
	results, err := b.store.Apply(b.index, 1, data, true)
	if err != nil || len(results) != 2 || len(early) != 2 {
		t.Fatalf("%d results, %d of them before, %v", len(results), len(early), err)
	}
	for i := range results {
		if !proto.Equal(results[i], early[i]) || results[i].GetOutcome() != ok {
			t.Errorf("the result is %v, and was %v", results[i], early[i])
		}
	}
}
