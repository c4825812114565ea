package fsm

import (
	"errors"
	"slices"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// foreseenMost bounds the values of one call, in bytes.
const foreseenMost = 4 << 20

// Foresee returns for each access what it would release as the store stands, sealed, if
// it is a get that would, or nil; also for those after 4 MiB of values. The log decides,
// and where it decides on that digest, this node needs the value from no other. With a get
// among them it waits for the entry that Apply is at.
func (s *Store) Foresee(accesses []*fsmpb.Access) []*fsmpb.Secret {
	found := make([]*fsmpb.Secret, len(accesses))
	if !slices.ContainsFunc(accesses, func(a *fsmpb.Access) bool { return a.GetGet() != nil }) {
		return found // puts need not wait
	}
	s.apply.Lock()
	defer s.apply.Unlock()
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil || s.failed != nil {
		return found
	}
	w, size := newWriter(reader{s.db, s.codec}, s.codec.keys, s.cache, 0), 0
	w.foresees = true
	for i, a := range accesses {
		op := a.GetGet()
		if op == nil {
			continue
		}
		who, err := s.st.callers.parse(a.GetCaller(), s.st.trustDomain)
		if err != nil {
			continue
		}
		x := &access{t: w, st: s.st, a: a, caller: who.Caller, reads: who.reads, capture: true}
		found[i] = x.get(op).GetSecret()
		if size += len(found[i].GetSealed()); size >= foreseenMost {
			break
		}
	}
	if errors.Join(w.err(), w.values.close()) != nil {
		clear(found) // the log decides all the same, and the leader sends what it has
		if !s.unreadable.Swap(true) {
			s.log.Warn("a value in this node's store can't be read; gets of it are answered with the leader's: look at the disk before this node leads")
		}
	}
	return found
}
