package fsm

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
)

const (
	filterLoad = 64      // rows that an entry reads on with
	filterMost = 4 << 20 // keys, of up to 32 MiB; with more, rows are looked for as ever
)

// requestFilter knows, of all requests that are remembered, five bytes of their opaque
// keys: a new request need not be looked for in the database, where what is not there is
// what costs most. It may hold more than there is, never less, or nodes would
// decide otherwise. Only Apply uses it.
//
// What a store holds when it opens is read bit by bit, with the entries that follow:
// the dues of its requests, and what format 2 left. Until then everything may be there.
type requestFilter struct {
	known  *shortSet
	twice  map[uint64]int // further keys with the same bytes
	opened uint64         // the index of the store's last entry when it opened
	older  bool           // what format 2 left was read
	next   []byte         // where the reading goes on
	whole  bool
	full   bool
}

func newRequestFilter(opened uint64) *requestFilter {
	return &requestFilter{known: &shortSet{}, twice: map[uint64]int{}, opened: opened}
}

// may is false where there is certainly no row.
func (f *requestFilter) may(key []byte) bool {
	return !f.whole || f.full || f.known.has(short(key))
}

// once: whatever has these bytes was remembered once, and not since.
func (f *requestFilter) once(key []byte) bool {
	return f.whole && !f.full && f.known.has(short(key)) && f.twice[short(key)] == 0
}

// add is for each due.
func (f *requestFilter) add(key []byte) {
	if f.full {
		return
	}
	if k := short(key); !f.known.add(k) {
		f.twice[k]++
	}
	if f.known.held > filterMost {
		f.known, f.twice, f.full = nil, nil, true
	}
}

// remove is for each due that has ended.
func (f *requestFilter) remove(key []byte) {
	k := short(key)
	switch n := f.twice[k]; {
	case f.full:
	case !f.whole: // the bytes may be those of another key, which is not read again
	case n > 1:
		f.twice[k] = n - 1
	case n == 1:
		delete(f.twice, k)
	default:
		f.known.remove(k)
	}
}

// load reads some more of what the store held when it opened, and has not ended since.
func (f *requestFilter) load(r reader, swept []byte) (err error) {
	if f.whole || f.full {
		return nil
	}
	if !f.older {
		f.next, f.older, err = r.some(tableRequest, f.next, filterLoad, func(it *pebble.Iterator) error {
			f.add(it.Key()[1:])
			return nil
		})
		if !f.older || err != nil {
			return err
		}
		f.next = nil
	}
	f.next, f.whole, err = r.some(tableDue, f.next, filterLoad, func(it *pebble.Iterator) error {
		if binary.BigEndian.Uint64(it.Key()[9:]) > f.opened {
			return nil
		}
		dues, err := readDues(r, it)
		for _, d := range dues {
			if !notAfter(d.key, swept) {
				f.add(d.request)
			}
		}
		return err
	})
	return err
}
