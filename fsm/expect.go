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
	held  [][]byte
}

// Expect decodes an entry that Apply will be given soon, in the same slice, which nobody
// changes meanwhile: who waits for it need not wait for that, too. held has for each of
// its accesses the digest of a value that nobody needs to be shown, or nothing; nil: it
// has none.
func (s *Store) Expect(data []byte, held [][]byte) {
	e, err := decodeEntry(data, s.codec.keys.ClusterID()) // none is empty: it has a format
	if err != nil || len(held) != 0 && len(held) != len(e.GetAccesses()) {
		return // Apply says so
	}
	x := &s.expected
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.entries) == mostExpected {
		x.entries = slices.Delete(x.entries, 0, 1)
	}
	x.entries = append(x.entries, expectedEntry{&data[0], len(data), e, held})
}

// entry decodes an entry, or finds it decoded.
func (s *Store) entry(data []byte) (e *fsmpb.Entry, held [][]byte, err error) {
	if e, held := s.expected.take(data); e != nil {
		return e, held, nil
	}
	e, err = decodeEntry(data, s.st.clusterID)
	return e, nil, err
}

// take gives what was decoded of those bytes, once; nil: nothing was.
func (x *expected) take(data []byte) (e *fsmpb.Entry, held [][]byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := slices.IndexFunc(x.entries, func(e expectedEntry) bool { return e.size == len(data) && e.data == &data[0] })
	if i < 0 {
		return nil, nil
	}
	e, held = x.entries[i].entry, x.entries[i].held
	x.entries = slices.Delete(x.entries, i, i+1)
	return e, held
}
