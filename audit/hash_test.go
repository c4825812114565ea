package audit

import (
	"bytes"
	"testing"

	"github.com/transparency-dev/merkle/rfc6962"
	"pgregory.net/rapid"
)

func TestHashesAreThoseOfRFC6962(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		leaf := rapid.SliceOfN(rapid.Byte(), 0, 2*usualLeaf).Draw(t, "leaf")
		got := LeafHash(leaf)
		if !bytes.Equal(got[:], rfc6962.DefaultHasher.HashLeaf(leaf)) {
			t.Fatalf("leaf of %d bytes", len(leaf))
		}
		node := rapid.SliceOfN(rapid.Byte(), 32, 32)
		left, right := node.Draw(t, "left"), node.Draw(t, "right")
		if !bytes.Equal(hashChildren(left, right), rfc6962.DefaultHasher.HashChildren(left, right)) {
			t.Fatal("children")
		}
	})
}
