package audit

import (
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
)

var ranges = compact.RangeFactory{Hash: hashChildren}

// Tree is the hash tree of RFC 6962 as its compact range: enough to append and
// to know the root. Not safe for concurrent use.
type Tree struct{ r *compact.Range }

// NewTree is the empty tree.
func NewTree() *Tree { return &Tree{ranges.NewEmptyRange(0)} }

// RestoreTree is the tree with that size and compact range.
func RestoreTree(size uint64, hashes [][]byte) (*Tree, error) {
	r, err := ranges.NewRange(0, size, hashes)
	if err != nil {
		return nil, fmt.Errorf("%w: compact range: %w", ErrMismatch, err)
	}
	return &Tree{r}, nil
}

// Append adds a leaf. visit, if any, gets every node that this completes, the
// leaf itself first.
func (t *Tree) Append(leaf [32]byte, visit func(level uint, index uint64, hash []byte)) error {
	if visit != nil {
		visit(0, t.r.End(), leaf[:])
	}
	return t.r.Append(leaf[:], func(id compact.NodeID, hash []byte) {
		if visit != nil && id.Level > 0 {
			visit(id.Level, id.Index, hash)
		}
	})
}

// Size is the number of leaves.
func (t *Tree) Size() uint64 { return t.r.End() }

// Hashes is the compact range, for RestoreTree. It must not be changed.
func (t *Tree) Hashes() [][]byte { return t.r.Hashes() }

// Root is the root hash; of the empty tree SHA-256 of nothing.
func (t *Tree) Root() ([32]byte, error) {
	if t.Size() == 0 {
		return [32]byte(rfc6962.DefaultHasher.EmptyRoot()), nil
	}
	root, err := t.r.GetRootHash(nil)
	if err != nil {
		return [32]byte{}, fmt.Errorf("%w: root: %w", ErrMismatch, err)
	}
	return [32]byte(root), nil
}
