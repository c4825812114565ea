package seal

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"
)

func seals(t *testing.T, k *Keyring, text string) []byte {
	t.Helper()
	sealed, err := k.SealValue(goldenPlace, NewPlaintext([]byte(text)))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestRotation takes a key from a node that makes it to one that gets it.
func TestRotation(t *testing.T) {
	k := newRing(t)
	old := seals(t, k, "old")
	other := newCopy(t, k)
	must(t, k.NewCandidate(ValueKey, 7))
	fingerprint, ok := k.CandidateFingerprint(ValueKey, 7)
	if !ok || k.Has(ValueKey, 7) {
		t.Fatal("a candidate is no key yet")
	}
	if _, err := k.ExportKey(ValueKey, 7); err == nil {
		t.Error("a candidate is handed out")
	}
	if newCopy(t, k).Promote(ValueKey, 7) == nil {
		t.Error("a candidate leaves with the keyring")
	}
	must(t, k.Promote(ValueKey, 7))
	if got, ok := k.Fingerprint(ValueKey, 7); !ok || got != fingerprint {
		t.Error("the key has another fingerprint than its candidate")
	}
	exported, err := k.ExportKey(ValueKey, 7)
	must(t, err)
	for name, err := range map[string]error{
		"another fingerprint": newCopy(t, other).ImportKey(ValueKey, 7, exported, [32]byte{1}),
		"another ID":          newCopy(t, other).ImportKey(ValueKey, 8, exported, fingerprint),
		"another kind":        newCopy(t, other).ImportKey(StorageKey, 7, exported, fingerprint),
		"another cluster":     newRing(t).ImportKey(ValueKey, 7, exported, fingerprint),
		"no key":              newCopy(t, other).ImportKey(ValueKey, 7, []byte("x"), fingerprint),
	} {
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, k.Activate(ValueKey, 7))
	fresh := seals(t, k, "new")
	if id, ok := ValueKeyID(fresh); !ok || id != 7 || k.Active(ValueKey) != 7 {
		t.Errorf("sealed with %08x", id)
	}
	if _, err := other.OpenValue(goldenPlace, fresh); !errors.Is(err, ErrNoKey) {
		t.Fatalf("a copy without the key: %v", err)
	}
	must(t, other.NewCandidate(ValueKey, 7)) // it made one, too, and the log took the first
	if got, _ := other.CandidateFingerprint(ValueKey, 7); got == fingerprint {
		t.Error("two keys have one fingerprint")
	}
	must(t, other.Drop(ValueKey, 7))
	must(t, other.ImportKey(ValueKey, 7, exported, fingerprint))
	for _, ring := range []*Keyring{k, other} {
		for _, sealed := range [][]byte{old, fresh} {
			if _, err := ring.OpenValue(goldenPlace, sealed); err != nil {
				t.Error(err)
			}
		}
	}
	if other.Active(ValueKey) == 7 {
		t.Error("a key seals before it was activated")
	}
}

// TestMerge: the union of two copies, each goes on sealing with its own.
func TestMerge(t *testing.T) {
	k := newRing(t)
	other := newCopy(t, k)
	was := other.Active(StorageKey)
	must(t, k.NewCandidate(StorageKey, 9))
	must(t, k.Promote(StorageKey, 9))
	must(t, k.Activate(StorageKey, 9))
	must(t, other.Merge(k))
	if !other.Has(StorageKey, 9) || other.Active(StorageKey) != was || len(other.Keys()) != 3 {
		t.Errorf("after a merge: %+v", other.Keys())
	}
	must(t, k.Merge(other))
	if k.Active(StorageKey) != 9 {
		t.Error("a merge with a copy that is behind takes the activation back")
	}
	if err := k.Merge(newRing(t)); !errors.Is(err, ErrWrongCluster) {
		t.Errorf("merge of another keyring: %v", err)
	}
	must(t, other.NewCandidate(ValueKey, 5))
	must(t, other.Promote(ValueKey, 5))
	must(t, k.NewCandidate(ValueKey, 5))
	must(t, k.Promote(ValueKey, 5))
	if err := k.Merge(other); !errors.Is(err, ErrCorrupt) {
		t.Errorf("two keys of one ID: %v", err)
	}
}

// TestCandidatesAreDurable: they are in the node's own file, and clones change
// nothing before they are adopted.
func TestCandidatesAreDurable(t *testing.T) {
	dir := t.TempDir()
	w, err := CreateFileWrapper(filepath.Join(dir, "wrapper.key"))
	must(t, err)
	k, file := newRing(t), filepath.Join(dir, "keyring")
	c := k.Clone()
	must(t, c.NewCandidate(StorageKey, 3))
	if _, ok := k.CandidateFingerprint(StorageKey, 3); ok {
		t.Error("a clone changes its original")
	}
	must(t, SaveKeyring(t.Context(), file, w, c))
	again, err := LoadKeyring(t.Context(), file, w, testCluster)
	must(t, err)
	was, _ := c.CandidateFingerprint(StorageKey, 3)
	if got, ok := again.CandidateFingerprint(StorageKey, 3); !ok || got != was {
		t.Error("the candidate is not in the file")
	}
	k.Adopt(again)
	must(t, k.Promote(StorageKey, 3))
	must(t, k.Drop(StorageKey, 3))
	if k.Has(StorageKey, 3) {
		t.Error("a dropped key is there")
	}
	if k.Drop(StorageKey, k.Active(StorageKey)) == nil {
		t.Error("the key that seals was dropped")
	}
}

// TestRewrap: the data key moves, the ciphertext stays, and the bytes are the
// same on every node.
func TestRewrap(t *testing.T) {
	k := newRing(t)
	old := k.Active(ValueKey)
	sealed := seals(t, k, "value")
	must(t, k.NewCandidate(ValueKey, 7))
	must(t, k.Promote(ValueKey, 7))
	must(t, k.Activate(ValueKey, 7))
	wrapped, err := k.Rewrap(goldenPlace, sealed)
	must(t, err)
	moved, err := WithWrappedKey(sealed, 7, wrapped)
	must(t, err)
	again, err := WithWrappedKey(sealed, 7, wrapped)
	if err != nil || !bytes.Equal(moved, again) {
		t.Error("the same input gives other bytes")
	}
	if got, err := k.OpenValue(goldenPlace, moved); err != nil || string(got.Reveal()) != "value" {
		t.Errorf("after a rewrap: %v", err)
	}
	if id, _ := ValueKeyID(moved); id != 7 {
		t.Errorf("it is under %08x", id)
	}
	if !bytes.Equal(sealed[len(sealed)-16:], moved[len(moved)-16:]) {
		t.Error("the ciphertext was sealed anew")
	}
	if _, err := WithWrappedKey(sealed, old, wrapped); !errors.Is(err, ErrCorrupt) {
		t.Errorf("wrapped under another key than said: %v", err)
	}
	if _, err := WithWrappedKey([]byte("x"), 7, wrapped); !errors.Is(err, ErrCorrupt) {
		t.Errorf("no sealed value: %v", err)
	}
	elsewhere := goldenPlace
	elsewhere.Record = []byte("other")
	if _, err := k.Rewrap(elsewhere, sealed); !errors.Is(err, ErrCorrupt) {
		t.Errorf("rewrap out of its place: %v", err)
	}
	if _, ok := ValueKeyID([]byte("sealed v")); ok {
		t.Error("what is no sealed value has a key")
	}
	row, err := k.SealRow([]byte("place"), []byte("row"))
	must(t, err)
	if id, ok := RowKeyID(row); !ok || id != k.Active(StorageKey) {
		t.Errorf("row under %08x", id)
	}
}

func FuzzValueKeyID(f *testing.F) {
	k, err := NewKeyring(testCluster)
	if err != nil {
		f.Fatal(err)
	}
	sealed, err := k.SealValue(goldenPlace, NewPlaintext([]byte("v")))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Fuzz(func(t *testing.T, data []byte) {
		id, ok := ValueKeyID(data)
		if moved, err := WithWrappedKey(data, id, append([]byte{1, 0, 0, 0, 9}, 1)); err == nil && id != 9 {
			t.Fatalf("%x with another key's wrapping: %t", moved, ok)
		}
	})
}
