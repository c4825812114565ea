package fsm

import (
	"context"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// view is the state after an entry, for readers. It never changes.
type view struct {
	trustDomain   string
	index, term   uint64
	time          int64
	size          uint64
	marks         []*fsmpb.Mark
	settings      *fsmpb.Settings
	members       *fsmpb.Members
	blocked       *fsmpb.Blocked
	configuration *fsmpb.Configuration
	keys          *fsmpb.Keys
	uses          []*fsmpb.KeyUses
}

// publish shows the state to readers. Settings are worked out again only where
// they may have changed.
func (s *Store) publish(settingsChanged bool) {
	st := s.st
	var settings *fsmpb.Settings
	if old := s.view.Load(); old == nil || settingsChanged {
		settings = st.effective()
	} else {
		settings = old.settings
	}
	s.view.Store(&view{
		trustDomain: st.trustDomain, index: st.index, term: st.term, time: st.time, size: st.size, marks: st.marks,
		settings: settings, members: st.members, blocked: st.blocked, configuration: st.configuration, keys: st.keys, uses: st.uses,
	})
}

// AppliedIndex is the raft index of the last entry in the store.
func (s *Store) AppliedIndex() uint64 { return s.view.Load().index }

// Time is the FSM's: unix nanoseconds, as the last entry says.
func (s *Store) Time() int64 { return s.view.Load().time }

// Ready: the cluster was bootstrapped.
func (s *Store) Ready() bool { return s.view.Load().trustDomain != "" }

// ClusterID of the cluster.
func (s *Store) ClusterID() [16]byte { return s.codec.keys.ClusterID() }

// TrustDomain of the cluster; empty before it is bootstrapped.
func (s *Store) TrustDomain() string { return s.view.Load().trustDomain }

// Settings in effect. Must not be changed.
func (s *Store) Settings() *fsmpb.Settings { return s.view.Load().settings }

// Members that were ever admitted. Must not be changed.
func (s *Store) Members() []*fsmpb.Member { return s.view.Load().members.GetMembers() }

// Member by its node ID.
func (s *Store) Member(id string) (*fsmpb.Member, bool) {
	for _, m := range s.Members() {
		if m.GetId() == id {
			return m, true
		}
	}
	return nil, false
}

// Configuration of raft, as committed. Must not be changed.
func (s *Store) Configuration() *fsmpb.Configuration { return s.view.Load().configuration }

// Keys that the cluster ever had, in the order in which they were added. Must not
// be changed.
func (s *Store) Keys() []*fsmpb.Key { return s.view.Load().keys.GetKeys() }

// ValueKeyUses counts the versions under each value key. Must not be changed.
func (s *Store) ValueKeyUses() []*fsmpb.KeyUses { return s.view.Load().uses }

// BlockedCaller reports whether an operator blocked the caller.
func (s *Store) BlockedCaller(c Caller) bool { return s.BlockedSince(c, 0) }

// BlockedSince is BlockedCaller for what the log decided at an index: what is known
// from before is older than the decision, and does not count.
func (s *Store) BlockedSince(c Caller, index uint64) bool {
	v := s.view.Load()
	return v.index >= index && isBlocked(v.blocked, c)
}

// Mark is what the node's disk held when it last proposed; zero: unknown.
func (s *Store) Mark(node string) (index, term uint64) {
	for _, m := range s.view.Load().marks {
		if m.GetNode() == node {
			return m.GetIndex(), m.GetTerm()
		}
	}
	return 0, 0
}

// AuditSize is the number of audit rows.
func (s *Store) AuditSize() uint64 { return s.view.Load().size }

// Changed returns a channel that is closed at the next change of members,
// blocks, settings, tokens or configuration. Take it, then look, then wait.
func (s *Store) Changed() <-chan struct{} { return s.changed.wait() }

// RowsAdded returns a channel that is closed when rows are appended next.
func (s *Store) RowsAdded() <-chan struct{} { return s.rows.wait() }

// WaitApplied returns once the entry at index is in the store, or an error when
// ctx ends or the store closes.
func (s *Store) WaitApplied(ctx context.Context, index uint64) error {
	for {
		next := s.applied.wait()
		if s.AppliedIndex() >= index {
			return nil
		}
		select {
		case <-next:
		case <-s.closed:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
