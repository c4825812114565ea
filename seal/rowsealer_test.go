package seal

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// What a batch seals opens as any row does: by Tink, in its place alone, with a nonce
// of its own.
func TestRowSealer(t *testing.T) {
	ring, err := NewKeyring([16]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	nonces := map[string]bool{}
	rapid.Check(t, func(t *rapid.T) {
		s, err := ring.NewRowSealer()
		if err != nil {
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
			got, err := ring.OpenRow(ad, sealed)
			if err != nil || !bytes.Equal(got, plaintext) {
				t.Fatalf("%x is not what was sealed: %v", got, err)
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

func TestRowSealerFollowsTheActiveKey(t *testing.T) {
	ring, err := NewKeyring([16]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	const next = 77
	if err := errors.Join(ring.NewCandidate(StorageKey, next), ring.Promote(StorageKey, next), ring.Activate(StorageKey, next)); err != nil {
		t.Fatal(err)
	}
	s, err := ring.NewRowSealer()
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
