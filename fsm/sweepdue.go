package fsm

import "encoding/binary"

// SweepDue reports whether something has reached its end by that time, in unix
// nanoseconds: then a Sweep is worth an entry.
func (s *Store) SweepDue(now int64) bool {
	due := s.FirstDue()
	return due != 0 && due <= now
}

// FirstDue is when the first of all that is to end does, in unix nanoseconds; 0:
// nothing is. A time that has passed is how late the sweeps are.
func (s *Store) FirstDue() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return 0
	}
	it, err := s.db.NewIter(tableBounds(tableExpiry))
	if err != nil {
		return 0
	}
	defer func() { _ = it.Close() }()
	if !it.SeekGE(fullKey(tableExpiry, s.cache.due.key())) {
		return 0
	}
	return int64(binary.BigEndian.Uint64(it.Key()[1:]))
}
