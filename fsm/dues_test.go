package fsm

import (
	"bytes"
	"testing"
)

// FuzzDues: what is read as dues of a moment is what is written for them.
func FuzzDues(f *testing.F) {
	f.Add(bytes.Repeat([]byte{1}, dueSize))
	f.Add(bytes.Repeat([]byte{2}, 3*dueSize))
	f.Add(bytes.Repeat([]byte{3}, dueSize+1))
	f.Fuzz(func(t *testing.T, items []byte) {
		dues, err := parseDues(make([]byte, 8), items)
		if err != nil {
			return
		}
		var again []byte
		for _, d := range dues {
			if momentOf(d.key) != 0 {
				t.Fatal("it is of another moment")
			}
			again = appendDue(again, d)
		}
		if !bytes.Equal(again, items) {
			t.Fatalf("%x was read from %x", again, items)
		}
	})
}
