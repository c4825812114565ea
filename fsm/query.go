package fsm

import (
	"context"
	"sort"

	"github.com/hexrdev/hexrd/audit"
)

const checkEvery = 1024 // rows, that nobody waits for them any more

// RowQuery selects audit rows. Empty fields select all.
type RowQuery struct {
	Caller, Path string
	Outcome      audit.Outcome
	Operation    audit.Operation
	Since, Until int64  // unix nanoseconds: Since <= time < Until
	From, Size   uint64 // rows [From, Size)
	Limit        int    // rows returned
	ScanMax      int    // rows looked at
}

// RowPage is a page of rows, ascending; Next is where the next one begins.
type RowPage struct {
	Rows [][]byte // encoded
	Next uint64
	Done bool // nothing is left
}

// QueryRows returns a page of rows. With a caller or a path it costs what it
// looks at of theirs, else a scan; ScanMax bounds both.
func (s *Store) QueryRows(ctx context.Context, q RowQuery) (RowPage, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return RowPage{}, ErrClosed
	}
	r := reader{s.db, s.codec}
	b := newBlocks(r)
	defer b.close()
	from, to, err := q.bounds(b, s.AuditSize())
	if err != nil {
		return RowPage{}, err
	}
	page := RowPage{Next: to, Done: true}
	scanned := 0
	err = s.candidates(ctx, r, q, from, to, func(index uint64) (bool, error) {
		if len(page.Rows) >= q.Limit || scanned >= q.ScanMax {
			page.Next, page.Done = index, false
			return false, nil
		}
		scanned++
		row, err := b.decoded(index)
		if err != nil {
			return false, err
		}
		if q.selects(&row) {
			encoded, err := b.row(index)
			if err != nil {
				return false, err
			}
			page.Rows = append(page.Rows, encoded)
		}
		return true, nil
	})
	return page, err
}

func (q RowQuery) selects(r *audit.Row) bool {
	return (q.Caller == "" || q.Caller == r.Caller) && (q.Path == "" || q.Path == r.Path) &&
		(q.Outcome == 0 || q.Outcome == r.Outcome) && (q.Operation == 0 || q.Operation == r.Operation)
}

// bounds turns times into indexes: rows are in the order of time.
func (q RowQuery) bounds(b *blocks, size uint64) (from, to uint64, err error) {
	from, to = q.From, min(q.Size, size)
	search := func(t int64) uint64 {
		i := sort.Search(int(to), func(i int) bool {
			row, rowErr := b.decoded(uint64(i))
			if rowErr != nil {
				err = rowErr
				return true
			}
			return row.Time >= t
		})
		return uint64(i)
	}
	if q.Until > 0 {
		to = search(q.Until)
	}
	if q.Since > 0 {
		from = max(from, search(q.Since))
	}
	return from, to, err
}

// candidates calls fn with the indexes that may be selected, ascending, until
// it returns false.
func (s *Store) candidates(ctx context.Context, r reader, q RowQuery, from, to uint64, fn func(uint64) (bool, error)) error {
	switch {
	case q.Path != "":
		return s.posted(ctx, r, postingKey(s.codec.keys.Opaque(domainPosting, postedPath, q.Path)), from, to, fn)
	case q.Caller != "":
		return s.posted(ctx, r, postingKey(s.codec.keys.Opaque(domainPosting, postedCaller, q.Caller)), from, to, fn)
	}
	for i := from; i < to; i++ {
		if i%checkEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if more, err := fn(i); err != nil || !more {
			return err
		}
	}
	return nil
}

// posted walks the index's rows of a key, [from, to): those of runs, as they are at
// one moment, then those that no run holds yet.
func (s *Store) posted(ctx context.Context, r reader, key, from, to uint64, fn func(uint64) (bool, error)) error {
	s.chain.mu.RLock()
	parts, rest := s.chain.index.parts(), s.chain.index.unwritten(key)
	rs, err := readRuns(r)
	s.chain.mu.RUnlock()
	if err != nil {
		return err
	}
	defer rs.close()
	for _, p := range parts {
		if more, err := p.find(ctx, rs, key, from, to, fn); err != nil || !more {
			return err
		}
	}
	for _, row := range rest {
		if row < from || row >= to {
			continue
		}
		if more, err := fn(row); err != nil || !more {
			return err
		}
	}
	return nil
}

// Rows returns up to limit encoded rows from an index on.
func (s *Store) Rows(ctx context.Context, from uint64, limit int) ([][]byte, error) {
	page, err := s.QueryRows(ctx, RowQuery{From: from, Size: s.AuditSize(), Limit: limit, ScanMax: limit})
	return page.Rows, err
}

// Root of the audit tree at a size up to AuditSize.
func (s *Store) Root(size uint64) ([32]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return [32]byte{}, ErrClosed
	}
	return s.chain.root(size, reader{s.db, s.codec})
}

// SizeAfter is how many audit rows there were after an entry that had some; false
// where it is not among the last few hundred that this node applied.
func (s *Store) SizeAfter(index uint64) (uint64, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return 0, false
	}
	return s.chain.sizeAfter(index)
}
