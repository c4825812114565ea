package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

const (
	minPeriod = int64(1e9)
	maxPeriod = 3650 * 24 * hour
)

// ValidPeriod reports whether nanoseconds are a time between rotations, or 0: no
// schedule.
func ValidPeriod(p int64) bool { return p == 0 || p >= minPeriod && p <= maxPeriod }

// arm works out when the record's next rotation is due, and queues that moment.
// The caller saves the record.
func (x *access) arm(r *record) {
	x.disarm(r)
	if r.head.GetPeriod() == 0 {
		return
	}
	since := r.head.GetCurrentSince()
	if since == 0 {
		since = r.version(0).GetCreatedAt()
	}
	r.head.DueAt = max(since+r.head.GetPeriod(), x.st.time)
	x.expire(r.head.DueAt, rotationDue(r))
}

// disarm takes the moment back, or that it has passed.
func (x *access) disarm(r *record) {
	switch {
	case r.head.GetDueAt() == 0:
		return
	case r.head.GetOverdue():
		x.countOverdue(-1)
	default:
		x.t.del(tableExpiry, dueKey(x.t, r.head.GetDueAt(), fsmpb.Expiry_KIND_ROTATION, r.key))
	}
	r.head.DueAt, r.head.Overdue = 0, false
}

func rotationDue(r *record) *fsmpb.Expiry {
	return &fsmpb.Expiry{Kind: fsmpb.Expiry_KIND_ROTATION, Key: r.key}
}

// fallDue is the moment that arm queued.
func (x *access) fallDue(key []byte) {
	r := x.recordOf(key)
	if r == nil || r.head.GetDueAt() == 0 || r.head.GetDueAt() > x.st.time || r.head.GetOverdue() {
		return
	}
	r.head.Overdue = true
	x.countOverdue(1)
	x.save(r)
	x.note(r, fsmpb.Change_KIND_OVERDUE, r.current())
}

// countOverdue keeps the number that a metric shows.
func (x *access) countOverdue(d int64) {
	var t fsmpb.Totals
	x.t.get(tableLog, nil, &t)
	t.Overdue = add(t.GetOverdue(), d)
	x.t.set(tableLog, nil, &t)
}

// Overdue is how many rotations are overdue.
func (s *Store) Overdue() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var t fsmpb.Totals
	if s.db == nil {
		return 0
	}
	if _, err := (reader{s.db, s.codec}).get(tableLog, nil, &t); err != nil {
		return 0
	}
	return t.GetOverdue()
}
