package fsm

import "sync/atomic"

// dueFrom is a time before which the database has nothing that is due: what was ended
// there lies in front of the rest as deletions, and a scan from the tables' beginnings
// would go over them again and again. Apply alone moves it; FirstDue begins there, too.
type dueFrom struct{ time atomic.Int64 }

// from is where to begin.
func (d *dueFrom) from() int64 { return d.time.Load() }

// found: nothing is before that moment.
func (d *dueFrom) found(at int64) { d.time.Store(at) }

// wrote: now something is there.
func (d *dueFrom) wrote(at int64) { d.time.Store(min(d.time.Load(), at)) }
