package fsm

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
)

const (
	filterLoad = 512     // keys that an entry reads on with
	filterMost = 4 << 20 // keys, of some dozens of MiB; with more, rows are looked for as ever
)

// requestFilter knows, of all rows of requests, eight bytes of their opaque keys: a
// new request need not be looked for in the database, where what is not there is
// what costs most. It may hold more than there is, never less, or nodes would
// decide otherwise. Only Apply uses it.
//
// What a store holds when it opens is read bit by bit, with the entries that follow;
// until then everything may be there.
type requestFilter struct {
	known map[uint64]struct{}
	twice map[uint64]int // further keys with the same bytes
	next  []byte         // where the reading goes on
	whole bool
	full  bool
}

func newRequestFilter() *requestFilter {
	return &requestFilter{known: map[uint64]struct{}{}, twice: map[uint64]int{}}
}

func short(key []byte) uint64 { return binary.BigEndian.Uint64(key) }

// may is false where there is certainly no row.
func (f *requestFilter) may(key []byte) bool {
	if !f.whole || f.full {
		return true
	}
	_, ok := f.known[short(key)]
	return ok
}

// note follows what an entry wrote, or deleted.
func (f *requestFilter) note(key []byte, written bool) {
	if written {
		f.add(key)
	} else {
		f.remove(key)
	}
}

func (f *requestFilter) add(key []byte) {
	k := short(key)
	_, ok := f.known[k]
	switch {
	case f.full:
		return
	case ok:
		f.twice[k]++
		return
	}
	f.known[k] = struct{}{}
	if len(f.known) > filterMost {
		f.known, f.twice, f.full = nil, nil, true
	}
}

func (f *requestFilter) remove(key []byte) {
	k := short(key)
	switch n := f.twice[k]; {
	case !f.whole: // the bytes may be those of another key, which is not read again
	case n > 1:
		f.twice[k] = n - 1
	case n == 1:
		delete(f.twice, k)
	default:
		delete(f.known, k)
	}
}

// load reads some more of the keys that the store held when it opened. Those that
// came since are there already, and may count twice: they are forgotten late.
func (f *requestFilter) load(r reader) error {
	if f.whole || f.full {
		return nil
	}
	var err error
	f.next, f.whole, err = r.some(tableRequest, f.next, filterLoad, func(it *pebble.Iterator) error {
		f.add(it.Key()[1:])
		return nil
	})
	return err
}
