package fsm

import (
	"slices"
	"sync"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// mostExpected is more than a leader has under way.
const mostExpected = 4

// expected are entries that were decoded while their log was written, the oldest first.
type expected struct {
	mu      sync.Mutex
	entries []expectedEntry
}

// expectedEntry belongs to those very bytes, wherever they are equal to others.
type expectedEntry struct {
	data  *byte
	size  int
	entry *fsmpb.Entry
}

// Expect decodes an entry that Apply will be given soon, in the same slice, which nobody
// changes meanwhile: who waits for it need not wait for that, too.
func (s *Store) Expect(data []byte) {
	e, err := decodeEntry(data, s.codec.keys.ClusterID()) // none is empty: it has a format
	if err != nil {
		return // Apply says so
	}
	x := &s.expected
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.entries) == mostExpected {
		x.entries = slices.Delete(x.entries, 0, 1)
	}
	x.entries = append(x.entries, expectedEntry{&data[0], len(data), e})
}

// entry decodes an entry, or finds it decoded.
func (s *Store) entry(data []byte) (*fsmpb.Entry, error) {
	if e := s.expected.take(data); e != nil {
		return e, nil
	}
	return decodeEntry(data, s.st.clusterID)
}

// take gives what was decoded of those bytes, once; nil: nothing was.
func (x *expected) take(data []byte) *fsmpb.Entry {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := slices.IndexFunc(x.entries, func(e expectedEntry) bool { return e.size == len(data) && e.data == &data[0] })
	if i < 0 {
		return nil
	}
	e := x.entries[i].entry
	x.entries = slices.Delete(x.entries, i, i+1)
	return e
}
