package node

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"github.com/hashicorp/raft"

	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/seal"
)

// LogKeys counts the entries of the raft log by the storage key that sealed them.
// Keys follow each other in the log: it costs a few reads.
func (n *Node) LogKeys() (map[uint32]uint64, error) {
	first, err1 := n.raw.FirstIndex()
	last, err2 := n.raw.LastIndex()
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("look at raft log: %w", err)
	}
	counts := map[uint32]uint64{}
	if first == 0 {
		return counts, nil
	}
	var failed error
	keyAt := func(i uint64) uint32 {
		var l raft.Log
		err := n.raw.GetLog(i, &l)
		if err != nil && !errors.Is(err, raft.ErrLogNotFound) { // truncated meanwhile, or a hole
			failed = errors.Join(failed, fmt.Errorf("look at raft log: %w", err))
		}
		id, _ := seal.RowKeyID(l.Data)
		return id
	}
	for from := first; from <= last && failed == nil; {
		id := keyAt(from)
		run := uint64(sort.Search(int(last-from), func(i int) bool { return keyAt(from+1+uint64(i)) != id })) + 1
		counts[id] += run
		from += run
	}
	return counts, failed
}

// SnapshotKeys is, for each snapshot of this node, the storage key that all its
// rows are sealed with, or one that was active later (fsm.ResealState.Clean).
func (n *Node) SnapshotKeys(ctx context.Context) ([]uint32, error) {
	return n.snapshots.clean(ctx, n.cfg.Keys)
}

// clean remembers what it found: a snapshot never changes.
func (s *snapshots) clean(ctx context.Context, keys *seal.Keyring) ([]uint32, error) {
	metas, err := s.List()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	before := s.cleanOf
	s.mu.Unlock()
	known := map[string]uint32{}
	var out []uint32
	for _, m := range metas {
		id, ok := before[m.ID]
		if !ok {
			meta, err := fsm.Inspect(ctx, s.content(m.ID), keys)
			if err != nil {
				return nil, fmt.Errorf("snapshot %s: %w", m.ID, err)
			}
			id = meta.Clean
		}
		known[m.ID] = id
		out = append(out, id)
	}
	s.mu.Lock()
	s.cleanOf = known
	s.mu.Unlock()
	return out, nil
}
