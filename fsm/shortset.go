package fsm

import "encoding/binary"

const (
	shortTables = 1 << 8
	shortLeast  = 1 << 5 // slots of a table that is not empty
)

// shortSet is a set of the first five bytes of opaque keys, which are spread evenly. It
// has no pointers, and four bytes for a slot, up to three quarters of which hold a key: a
// map has sixteen for a key of eight and gives none back, so that a million requests
// were a fifth of what a node with a large store kept. It grows and shrinks by a table,
// so that no entry waits.
type shortSet struct {
	tables [shortTables]shortTable
	held   int
}

// shortTable has open addressing with linear probing; 0 is a free slot.
type shortTable struct {
	slots []uint32 // a power of two, or none
	held  int
}

// short is what the set knows of a key, never 0 in its lower half.
func short(key []byte) uint64 {
	return uint64(key[0])<<32 | uint64(max(binary.BigEndian.Uint32(key[1:]), 1))
}

func (s *shortSet) table(k uint64) *shortTable { return &s.tables[k>>32] }

func (s *shortSet) has(k uint64) bool {
	t := s.table(k)
	return t.held > 0 && t.slots[t.find(uint32(k))] != 0
}

// add a key; false: it was there.
func (s *shortSet) add(k uint64) bool {
	t := s.table(k)
	if 4*(t.held+1) > 3*len(t.slots) {
		t.resize(max(2*len(t.slots), shortLeast))
	}
	i := t.find(uint32(k))
	if t.slots[i] != 0 {
		return false
	}
	t.slots[i] = uint32(k)
	t.held++
	s.held++
	return true
}

// remove a key, if it is there.
func (s *shortSet) remove(k uint64) {
	t := s.table(k)
	if t.held == 0 {
		return
	}
	i := t.find(uint32(k))
	if t.slots[i] == 0 {
		return
	}
	t.free(i)
	t.held--
	s.held--
	if len(t.slots) > shortLeast && 8*t.held < len(t.slots) {
		t.resize(len(t.slots) / 2)
	}
}

func (t *shortTable) home(k uint32) int { return int(k) & (len(t.slots) - 1) }

func (t *shortTable) next(i int) int { return (i + 1) & (len(t.slots) - 1) }

// find is the slot of a key, or the free one where it would be.
func (t *shortTable) find(k uint32) int {
	i := t.home(k)
	for t.slots[i] != 0 && t.slots[i] != k {
		i = t.next(i)
	}
	return i
}

// free a slot. What comes behind it, up to a free one, moves up where it would not be
// found any more (Knuth, The Art of Computer Programming, 6.4, algorithm R).
func (t *shortTable) free(i int) {
	mask := len(t.slots) - 1
	for j := t.next(i); t.slots[j] != 0; j = t.next(j) {
		if (j-t.home(t.slots[j]))&mask >= (j-i)&mask {
			t.slots[i], i = t.slots[j], j
		}
	}
	t.slots[i] = 0
}

func (t *shortTable) resize(slots int) {
	old := t.slots
	t.slots = make([]uint32, slots)
	for _, k := range old {
		if k != 0 {
			t.slots[t.find(k)] = k
		}
	}
}
