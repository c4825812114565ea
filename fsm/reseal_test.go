package fsm

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/hexrdev/hexrd/seal"
)

// keysOf counts the rows of a store by the key that sealed them.
func keysOf(t *testing.T, s *Store) map[uint32]int {
	t.Helper()
	it, err := s.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = it.Close() }()
	out := map[uint32]int{}
	for more := it.First(); more; more = it.Next() {
		id, _ := seal.RowKeyID(it.Value())
		out[id]++
	}
	return out
}

// TestReseal: every row is sealed anew while entries are applied; nothing is
// lost, it goes on after a restart, and a checkpoint brings how far it is.
func TestReseal(t *testing.T) {
	b := keyCluster(t)
	const paths = 600
	for i := range paths {
		b.want(b.do(b.putSealed(fmt.Sprint("k", i), fmt.Sprint("v", i)))[0], ok)
	}
	dir := b.store.cfg.Dir
	first := b.keys.Active(seal.StorageKey)
	for done := false; !done; {
		var err error
		if done, err = b.store.Reseal(); err != nil {
			t.Fatal(err)
		}
	}
	b.activateIn(seal.StorageKey, 7)
	before := keysOf(t, b.store)[first]
	reopened := false
	last := uint64(before)
	for i := 0; ; i++ {
		done, err := b.store.Reseal()
		if err != nil {
			t.Fatal(err)
		}
		st, err := b.store.ResealState()
		if err != nil || st.Counted && st.Left > last {
			t.Fatalf("%d rows are left after %d: %v", st.Left, last, err)
		}
		if st.Counted {
			last = st.Left
		}
		if done {
			break
		}
		// A write between two parts, before and behind the cursor.
		b.want(b.do(b.putSealed(fmt.Sprint("k", i), "new"), b.putSealed(fmt.Sprint("k", paths-1-i), "new"))[0], ok)
		if i == 4 {
			check := filepath.Join(t.TempDir(), "checkpoint")
			meta, err := b.store.Checkpoint(t.Context(), check)
			if err != nil || meta.Clean != first {
				t.Fatalf("a checkpoint in the middle is clean of what is before %08x: %v", meta.Clean, err)
			}
			if err := b.store.Restore(t.Context(), check); err != nil {
				t.Fatal(err)
			}
		}
		if i == 6 {
			if err := b.store.Close(); err != nil {
				t.Fatal(err)
			}
			b.open(dir)
			reopened = true
		}
	}
	if got := keysOf(t, b.store); len(got) != 1 || got[7] == 0 || !reopened {
		t.Errorf("rows by key: %v, reopened: %t", got, reopened)
	}
	meta, err := b.store.Checkpoint(t.Context(), filepath.Join(t.TempDir(), "checkpoint"))
	if err != nil || meta.Clean != 7 {
		t.Errorf("clean of what is before %08x: %v", meta.Clean, err)
	}
	for i := range paths {
		version, text := uint64(1), fmt.Sprint("v", i)
		b.opens(fmt.Sprint("k", i), text, version)
	}
	if st, err := b.store.ResealState(); err != nil || st.Clean != 7 || st.Left != 0 {
		t.Errorf("state %+v, %v", st, err)
	}
}
