package fsm

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
	q, err := openDues(reader{s.db, s.codec}, s.cache.due.from())
	if err != nil {
		return 0
	}
	defer func() { _ = q.close() }()
	at, _ := q.moment()
	return at
}
