package node

import (
	"fmt"
	"testing"

	"github.com/hexrdev/hexrd/seal"
)

// TestKeyUse: what log entries, snapshots, term and vote are sealed with is told
// by key; term and vote move to the key that seals now, and are the same after a
// restart.
func TestKeyUse(t *testing.T) {
	onBoth(t, func(t *testing.T, store string) {
		g := newGroup(t, store)
		g.limit.TrailingEntries = 5
		n := g.start("n1", true, false)
		first := g.keys.Active(seal.StorageKey)
		put := func(count int) {
			t.Helper()
			for i := range count {
				g.must(g.put(n, fmt.Sprint("k", i)))
			}
		}
		put(10)
		g.must(n.raft.Load().Snapshot().Error())
		g.must(g.keys.NewCandidate(seal.StorageKey, 7))
		g.must(g.keys.Promote(seal.StorageKey, 7))
		g.must(g.keys.Activate(seal.StorageKey, 7))
		put(4)
		counts, err := n.LogKeys()
		g.must(err)
		begin, err := n.raw.FirstIndex()
		g.must(err)
		last, err := n.raw.LastIndex()
		g.must(err)
		if len(counts) != 2 || counts[7] != 4 || counts[first]+counts[7] != last-begin+1 {
			t.Errorf("entries %d to %d by key: %v", begin, last, counts)
		}
		for done := false; !done; {
			done, err = n.store.Reseal()
			g.must(err)
		}
		put(8)
		g.must(n.raft.Load().Snapshot().Error())
		snaps, err := n.SnapshotKeys(t.Context())
		g.must(err)
		if len(snaps) != 2 || snaps[0] != (SnapshotKey{7, 7}) || snaps[1].Meta != first || snaps[1].Clean == 7 {
			t.Errorf("snapshots, the newest first: %v", snaps)
		}
		if counts, err = n.LogKeys(); err != nil || len(counts) != 1 || counts[7] == 0 {
			t.Errorf("after the log was truncated: %v, %v", counts, err)
		}
		term, sealed := n.raft.Load().CurrentTerm(), map[uint32]int{}
		g.must(n.ResealVote())
		for _, key := range stableKeys {
			if raw, err := n.stable.Get(key); err == nil {
				id, _ := seal.RowKeyID(raw)
				sealed[id]++
			}
		}
		if len(sealed) != 1 || sealed[7] == 0 {
			t.Errorf("term and vote by key: %v", sealed)
		}
		if got, err := n.votes.GetUint64(stableKeys[0]); err != nil || got != term {
			t.Errorf("term %d, was %d: %v", got, term, err)
		}
		g.stop("n1")
		n = g.start("n1", false, false)
		g.leader()
		put(1)
	})
}
