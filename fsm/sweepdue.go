package fsm

import "encoding/binary"

// SweepDue reports whether something has reached its end by that time, in unix
// nanoseconds: then a Sweep is worth an entry.
func (s *Store) SweepDue(now int64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return false
	}
	it, err := s.db.NewIter(tableBounds(tableExpiry))
	if err != nil {
		return false
	}
	defer func() { _ = it.Close() }()
	return it.First() && len(it.Key()) > 8 && int64(binary.BigEndian.Uint64(it.Key()[1:])) <= now
}
