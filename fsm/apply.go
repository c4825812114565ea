package fsm

import (
	"errors"
	"fmt"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/internal/fault"
)

const roomMost = 4096 // rows of an entry that room is made for before it is decided

// Validate is the leader's check, with Apply's own decoder, that an access may
// enter the log; ErrInvalidAccess says why not.
func (s *Store) Validate(a *fsmpb.Access) error {
	if accessHasUnknown(a) {
		return refuse("it has fields that this node does not know")
	}
	return validateAccess(a, s.view.Load().trustDomain)
}

// Apply decides the accesses of an entry and returns a result for each. An index
// that was applied is skipped, with nil results. capture makes granted gets show
// what they release, with the sealed bytes (but see Expect): nobody asks the other nodes
// for that. An error is fatal: nothing of the entry took effect on disk, and the node
// must stop.
func (s *Store) Apply(index, term uint64, data []byte, capture bool) ([]*fsmpb.Result, error) {
	s.apply.Lock()
	defer s.apply.Unlock()
	if s.failed != nil {
		return nil, s.failed
	}
	if index <= s.st.index {
		return nil, nil
	}
	results, err := s.applyEntry(index, term, data, capture)
	if err != nil {
		s.failed = fmt.Errorf("apply entry %d: %w", index, err)
		return nil, s.failed
	}
	return results, nil
}

func (s *Store) applyEntry(index, term uint64, data []byte, capture bool) ([]*fsmpb.Result, error) {
	e, held, err := s.entry(data)
	if err != nil {
		return nil, err
	}
	trustDomain := s.st.trustDomain
	for _, a := range e.GetAccesses() {
		if b := a.GetBootstrap(); b != nil && trustDomain == "" {
			trustDomain = b.GetTrustDomain()
		}
		if err := s.st.callers.validate(a, trustDomain); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return nil, ErrClosed
	}
	if err := s.check(e.GetCheck()); err != nil {
		return nil, err
	}
	if err := s.cache.load(reader{s.db, s.codec}, len(e.GetAccesses())); err != nil {
		return nil, err
	}
	w := newWriter(reader{s.db, s.codec}, s.codec.keys, s.cache, s.written)
	w.asked.index = index
	results, rows := applyEntry(w, s.st, e, index, term, capture, held)
	if err := errors.Join(w.err(), w.values.close()); err != nil {
		return nil, err
	}
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	if err := s.chain.append(w, index, rows); err != nil {
		return nil, err
	}
	s.st.put(w, s.chain.tree.Hashes())
	fault.Point("apply.decided")
	if err := w.commit(s.db); err != nil {
		return nil, err
	}
	fault.Point("apply.committed")
	s.written = min(len(w.order), roomMost)
	s.noteDestroyed(rows)
	s.announce(len(rows) > 0)
	s.watchers.wake(w.order)
	return results, nil
}

// check compares the leader's root of an earlier size with this node's.
func (s *Store) check(c *fsmpb.Check) error {
	if c == nil || c.GetSize() > s.st.size {
		return nil
	}
	root, err := s.chain.root(c.GetSize(), reader{s.db, s.codec})
	if err != nil {
		return err
	}
	if !equalRoot(root, c.GetRoot()) {
		return fmt.Errorf("%w: at %d audit rows", ErrDiverged, c.GetSize())
	}
	return nil
}

// announce publishes the new state and wakes who waits for it.
func (s *Store) announce(rows bool) {
	dirty, settings := s.st.dirty(), s.st.dirtySettings
	s.st.clean()
	s.publish(settings)
	s.applied.fire()
	if rows {
		s.rows.fire()
	}
	if dirty {
		s.changed.fire()
	}
}

// StoreConfiguration keeps raft's committed configuration with the state.
func (s *Store) StoreConfiguration(index uint64, c *fsmpb.Configuration) error {
	s.apply.Lock()
	defer s.apply.Unlock()
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return ErrClosed
	}
	if s.failed != nil {
		return s.failed
	}
	if index <= s.st.configuration.GetIndex() {
		return nil
	}
	s.st.configuration = &fsmpb.Configuration{Index: index, Servers: c.GetServers()}
	w := newWriter(reader{s.db, s.codec}, s.codec.keys, s.cache, 1)
	s.st.put(w, s.chain.tree.Hashes())
	if err := w.commit(s.db); err != nil {
		s.failed = err
		return err
	}
	s.publish(false)
	s.changed.fire()
	return nil
}
