package fsm

import (
	"encoding/binary"
	"sync/atomic"
)

// dueFrom is a time before which the database has no expiry: what was ended there
// lies in front of the rest as deletions, and a scan from the table's beginning would
// go over them again and again. Apply alone moves it; FirstDue begins there, too.
type dueFrom struct{ time atomic.Uint64 }

// key is where to begin.
func (d *dueFrom) key() []byte { return binary.BigEndian.AppendUint64(nil, d.time.Load()) }

// found: nothing is before that expiry.
func (d *dueFrom) found(key []byte) { d.time.Store(binary.BigEndian.Uint64(key)) }

// wrote: now that expiry is there.
func (d *dueFrom) wrote(key []byte) {
	d.time.Store(min(d.time.Load(), binary.BigEndian.Uint64(key)))
}
