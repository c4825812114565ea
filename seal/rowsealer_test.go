package seal

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// What batches seal opens as any row does: by Tink, and by the cipher that is kept of
// its salt, in its place alone, with a nonce of its own.
func TestRowSealer(t *testing.T) {
	ring, err := NewKeyring([16]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	nonces := map[string]bool{}
	var s *RowSealer
	rapid.Check(t, func(t *rapid.T) {
		if rapid.Bool().Draw(t, "fresh") {
			s = nil
		}
		var err error
		if s, err = ring.RowSealer(s); err != nil {
			t.Fatal(err)
		}
		for i, plaintext := range rapid.SliceOfN(rapid.SliceOf(rapid.Byte()), 1, 9).Draw(t, "rows") {
			ad := fmt.Appendf(nil, "row %d", i)
			sealed := make([]byte, s.Size(len(plaintext)))
			if err := s.Seal(sealed, ad, plaintext); err != nil {
				t.Fatal(err)
			}
			nonce := string(sealed[1+prefixSize : rowHead])
			if nonces[nonce] {
				t.Fatal("a nonce was used twice")
			}
			nonces[nonce] = true
			if id, ok := RowKeyID(sealed); !ok || id != ring.storageKeys().active {
				t.Fatal("the row does not name its key")
			}
			for range 3 { // from the second on by what is kept
				got, err := ring.OpenRow(ad, sealed)
				if err != nil || !bytes.Equal(got, plaintext) {
					t.Fatalf("%x is not what was sealed: %v", got, err)
				}
			}
			if got, err := ring.storageKeys().open(sealed[1:], ad); err != nil || !bytes.Equal(got, plaintext) {
				t.Fatalf("Tink opens %x: %v", got, err)
			}
			if _, err := ring.OpenRow([]byte("row x"), sealed); !errors.Is(err, ErrCorrupt) {
				t.Fatal("a row opens in another place")
			}
			at := rapid.IntRange(1, len(sealed)-1).Draw(t, "bit")
			sealed[at] ^= 1
			if _, err := ring.OpenRow(ad, sealed); err == nil {
				t.Fatalf("byte %d may be anything", at)
			}
		}
	})
}

func TestRowSealerEnds(t *testing.T) {
	ring, err := NewKeyring([16]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	first, err := ring.RowSealer(nil)
	if err != nil {
		t.Fatal(err)
	}
	salt, nonce := bytes.Clone(first.salt()), bytes.Clone(first.nonce())
	first.sealed = rowsOfSealer - 1
	same, err := ring.RowSealer(first)
	if err != nil || same != first || !bytes.Equal(same.salt(), salt) || bytes.Equal(same.nonce(), nonce) {
		t.Errorf("a batch has another salt, or the nonces of the one before: %v", err)
	}
	first.sealed = rowsOfSealer
	if next, err := ring.RowSealer(first); err != nil || next == first || bytes.Equal(next.salt(), salt) {
		t.Errorf("a derived key seals more than it should: %v", err)
	}
}

func TestRowSealerFollowsTheActiveKey(t *testing.T) {
	ring, err := NewKeyring([16]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	before, err := ring.RowSealer(nil)
	if err != nil {
		t.Fatal(err)
	}
	const next = 77
	if err := errors.Join(ring.NewCandidate(StorageKey, next), ring.Promote(StorageKey, next), ring.Activate(StorageKey, next)); err != nil {
		t.Fatal(err)
	}
	s, err := ring.RowSealer(before)
	if err != nil {
		t.Fatal(err)
	}
	sealed := make([]byte, s.Size(1))
	if err := s.Seal(sealed, nil, []byte{5}); err != nil {
		t.Fatal(err)
	}
	if id, _ := RowKeyID(sealed); id != next {
		t.Errorf("sealed with %d", id)
	}
	if got, err := ring.OpenRow(nil, sealed); err != nil || !bytes.Equal(got, []byte{5}) {
		t.Errorf("%x: %v", got, err)
	}
}
