package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// ResealVote seals raft's term and vote with the storage key that seals now.
func (n *Node) ResealVote() error { return n.votes.reseal() }

// SnapshotKey says what seals a snapshot of this node.
type SnapshotKey struct {
	Clean uint32 // of its rows, as fsm.ResealState
	Meta  uint32 // the key that sealed raft's meta of it
}

// SnapshotKeys of all snapshots of this node.
func (n *Node) SnapshotKeys(ctx context.Context) ([]SnapshotKey, error) {
	return n.snapshots.sealedWith(ctx)
}

// sealedWith remembers what it found: a snapshot never changes.
func (s *snapshots) sealedWith(ctx context.Context) ([]SnapshotKey, error) {
	metas, err := s.List()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	before := s.seals
	s.mu.Unlock()
	known := map[string]SnapshotKey{}
	var out []SnapshotKey
	for _, m := range metas {
		k, ok := before[m.ID]
		if !ok {
			if k, err = s.look(ctx, m.ID); err != nil {
				return nil, fmt.Errorf("snapshot %s: %w", m.ID, err)
			}
		}
		known[m.ID] = k
		out = append(out, k)
	}
	s.mu.Lock()
	s.seals = known
	s.mu.Unlock()
	return out, nil
}

func (s *snapshots) look(ctx context.Context, id string) (SnapshotKey, error) {
	content, err := fsm.Inspect(ctx, s.content(id), s.keys)
	if err != nil {
		return SnapshotKey{}, err
	}
	meta, err := os.ReadFile(filepath.Join(s.dir, id, metaFile))
	if err != nil {
		return SnapshotKey{}, err
	}
	key, _ := seal.RowKeyID(meta)
	return SnapshotKey{content.Clean, key}, nil
}
