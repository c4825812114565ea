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
		b.store.Expect(wrong, nil)
		if e, _ := x.take(wrong); e != nil {
			t.Errorf("%q was decoded", wrong)
		}
	}
	b.store.Expect(data, nil)
	for _, other := range [][]byte{bytes.Clone(data), data[:len(data)-1], nil} {
		if e, _ := x.take(other); e != nil {
			t.Error("other bytes were expected")
		}
	}
	if e, _ := x.take(data); e == nil {
		t.Error("an entry was not expected")
	}
	if e, _ := x.take(data); e != nil {
		t.Error("an entry is given twice")
	}
	b.store.Expect(data, make([][]byte, 1))
	if e, _ := x.take(data); e != nil {
		t.Error("an entry of no access is expected with what is held for one")
	}
	b.store.Expect(data, nil)
	for range mostExpected {
		b.store.Expect(b.entry(), nil)
	}
	if e, _ := x.take(data); len(x.entries) != mostExpected || e != nil {
		t.Errorf("%d entries are expected, the oldest among them", len(x.entries))
	}
}
