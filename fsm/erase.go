package fsm

import (
	"context"
	"fmt"

	"github.com/hexrdev/hexrd/audit"
)

// noteDestroyed remembers that rows of destroyed values lie in the files until
// they are compacted.
func (s *Store) noteDestroyed(rows []audit.Row) {
	for i := range rows {
		r := &rows[i]
		if r.Outcome != audit.Granted {
			continue
		}
		switch {
		case r.Operation == audit.OpDestroy, r.Version > 0 && (r.Operation == audit.OpSweep || r.Operation == audit.OpRotateAbort):
			s.destroyed.Store(true)
		}
	}
}

// Erasable reports whether something was destroyed since the last Erase.
func (s *Store) Erasable() bool { return s.destroyed.Load() }

// Erase compacts the values, so that the sealed bytes of what was destroyed leave
// the store's files. Snapshots keep theirs until they are replaced.
func (s *Store) Erase(ctx context.Context) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return ErrClosed
	}
	s.destroyed.Store(false)
	if err := s.flush(); err != nil {
		return fmt.Errorf("erase: %w", err)
	}
	bounds := tableBounds(tableValue)
	if err := s.db.Compact(ctx, bounds.LowerBound, bounds.UpperBound, false); err != nil {
		s.destroyed.Store(true)
		return fmt.Errorf("erase: %w", err)
	}
	return nil
}
