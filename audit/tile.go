package audit

import (
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

const (
	tileHeight = 8
	// TileWidth is how many hashes a full tile holds.
	TileWidth = 1 << tileHeight
)

// TileID names a tile: TileWidth neighbours of the tree's level 8*Level.
type TileID struct {
	Level uint
	Index uint64
}

// TileReader gives a tile's hashes that exist, from the left; fewer than
// TileWidth at the tree's right edge.
type TileReader interface {
	Tile(TileID) ([][32]byte, error)
}

// TileOf says where a node of the tree is stored, if it is: nodes of the levels
// between are computed from those below.
func TileOf(level uint, index uint64) (id TileID, offset int, stored bool) {
	if level%tileHeight != 0 {
		return TileID{}, 0, false
	}
	return TileID{level / tileHeight, index / TileWidth}, int(index % TileWidth), true
}

// Node computes a complete node of the tree from the tiles.
func Node(level uint, index uint64, r TileReader) ([]byte, error) {
	base := level - level%tileHeight
	width := uint64(1) << (level - base)
	first := index * width
	tile, offset, _ := TileOf(base, first)
	hashes, err := r.Tile(tile)
	if err != nil {
		return nil, err
	}
	if uint64(len(hashes)) < uint64(offset)+width {
		return nil, fmt.Errorf("%w: tile is short", ErrMismatch)
	}
	row := make([][]byte, width)
	for i := range row {
		row[i] = hashes[offset+i][:]
	}
	return reduce(row), nil
}

func nodes(r TileReader, ids []compact.NodeID) ([][]byte, error) {
	hashes := make([][]byte, len(ids))
	for i, id := range ids {
		h, err := Node(id.Level, id.Index, r)
		if err != nil {
			return nil, err
		}
		hashes[i] = h
	}
	return hashes, nil
}

// RootAt is the root at a size up to the reader's.
func RootAt(size uint64, r TileReader) ([32]byte, error) {
	hashes, err := nodes(r, compact.RangeNodes(0, size, nil))
	if err != nil {
		return [32]byte{}, err
	}
	t, err := RestoreTree(size, hashes)
	if err != nil {
		return [32]byte{}, err
	}
	return t.Root()
}

// InclusionProof shows that the leaf at index is in the tree of that size.
func InclusionProof(index, size uint64, r TileReader) ([][]byte, error) {
	n, err := proof.Inclusion(index, size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	return assemble(n, r)
}

// ConsistencyProof shows that the tree of size from is the beginning of that of
// size to.
func ConsistencyProof(from, to uint64, r TileReader) ([][]byte, error) {
	n, err := proof.Consistency(from, to)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	return assemble(n, r)
}

func assemble(n proof.Nodes, r TileReader) ([][]byte, error) {
	hashes, err := nodes(r, n.IDs)
	if err != nil {
		return nil, err
	}
	return n.Rehash(hashes, rfc6962.DefaultHasher.HashChildren)
}

// VerifyInclusion checks an inclusion proof; ErrMismatch when it does not hold.
func VerifyInclusion(index, size uint64, leaf [32]byte, p [][]byte, root [32]byte) error {
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, leaf[:], p, root[:]); err != nil {
		return fmt.Errorf("%w: inclusion: %w", ErrMismatch, err)
	}
	return nil
}

// VerifyConsistency checks a consistency proof; ErrMismatch when it does not hold.
func VerifyConsistency(from, to uint64, p [][]byte, rootFrom, rootTo [32]byte) error {
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, from, to, p, rootFrom[:], rootTo[:]); err != nil {
		return fmt.Errorf("%w: consistency: %w", ErrMismatch, err)
	}
	return nil
}

// TileRoot is the node above a full tile.
func TileRoot(tile [][32]byte) [32]byte {
	row := make([][]byte, len(tile))
	for i := range tile {
		row[i] = tile[i][:]
	}
	return [32]byte(reduce(row))
}

// reduce hashes a full row of neighbours up to the node above them.
func reduce(row [][]byte) []byte {
	for len(row) > 1 {
		for i := range len(row) / 2 {
			row[i] = rfc6962.DefaultHasher.HashChildren(row[2*i], row[2*i+1])
		}
		row = row[:len(row)/2]
	}
	return row[0]
}
