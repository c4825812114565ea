package fsm

import (
	"bytes"
	"testing"
)

func TestExpect(t *testing.T) {
	b := newBench(t)
	x := &b.store.expected
	data := b.entry()
	for _, wrong := range [][]byte{nil, {}, []byte("no entry"), data[:len(data)-1]} {
		b.store.Expect(wrong)
		if x.take(wrong) != nil {
			t.Errorf("%q was decoded", wrong)
		}
	}
	b.store.Expect(data)
	if x.take(bytes.Clone(data)) != nil || x.take(data[:len(data)-1]) != nil || x.take(nil) != nil {
		t.Error("other bytes were expected")
	}
	if x.take(data) == nil {
		t.Error("an entry was not expected")
	}
	if x.take(data) != nil {
		t.Error("an entry is given twice")
	}
	b.store.Expect(data)
	for range mostExpected {
		b.store.Expect(b.entry())
	}
	if len(x.entries) != mostExpected || x.take(data) != nil {
		t.Errorf("%d entries are expected, the oldest among them", len(x.entries))
	}
}
