package fsm

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const (
	recentRoots = 512
	usualRow    = 320 // bytes of an encoded row
)

// chain is the audit's moving part: the tree's compact range, the tiles at its
// right edge that are not full, the roots of the last entries, and the index of
// rows. Full tiles are rows; the edge is rebuilt from the rows when the store opens,
// so that an entry writes no tile before it is full.
type chain struct {
	mu     sync.RWMutex
	tree   *audit.Tree
	edge   map[audit.TileID][][32]byte
	recent map[uint64][32]byte
	after  []after // entries of recent, the oldest first
	index  *index

	encoded []byte // the row that was appended last
}

// after is the size of the tree after an entry with rows; index 0: not known.
type after struct{ index, size uint64 }

func rowKey(first uint64) []byte { return binary.BigEndian.AppendUint64(nil, first) }

func tileKey(id audit.TileID) []byte {
	return binary.BigEndian.AppendUint64([]byte{byte(id.Level)}, id.Index)
}

// append adds the rows of one entry: one block, and the tiles and runs of the index
// that they complete. The caller holds mu until it has committed.
func (c *chain) append(w *writer, index uint64, rows []audit.Row) error {
	if len(rows) == 0 {
		return nil
	}
	if err := c.index.work(w, len(rows)); err != nil {
		return err
	}
	block := appendNumber(make([]byte, 0, len(rows)*usualRow), 1, rows[0].Index) // of a fsmpb.RowBlock
	for i := range rows {
		var err error
		if c.encoded, err = audit.AppendRow(c.encoded[:0], &rows[i]); err != nil {
			return err
		}
		block = appendField(block, 2, c.encoded)
		if err := c.tree.Append(audit.LeafHash(c.encoded), func(level uint, index uint64, hash []byte) {
			c.store(w, level, index, hash)
		}); err != nil {
			return fmt.Errorf("append to the audit tree: %w", err)
		}
		c.index.add(w, &rows[i])
	}
	w.put(w.full(tableRows, rowKey(rows[0].Index)), block)
	root, err := c.tree.Root()
	if err != nil {
		return err
	}
	c.note(after{index, c.tree.Size()}, root)
	return nil
}

func (c *chain) store(w *writer, level uint, index uint64, hash []byte) {
	id, _, stored := audit.TileOf(level, index)
	if !stored {
		return
	}
	tile := append(c.edge[id], [32]byte(hash))
	c.edge[id] = tile
	if len(tile) < audit.TileWidth {
		return
	}
	flat := make([]byte, 0, audit.TileWidth*32)
	for _, h := range tile {
		flat = append(flat, h[:]...)
	}
	w.set(tableTile, tileKey(id), &fsmpb.Tile{Hashes: flat})
	delete(c.edge, id)
}

func (c *chain) note(a after, root [32]byte) {
	c.recent[a.size] = root
	if c.after = append(c.after, a); len(c.after) > recentRoots {
		delete(c.recent, c.after[0].size)
		c.after = c.after[1:]
	}
}

// sizeAfter is the tree's size after that entry, where it had rows and is among
// the last ones.
func (c *chain) sizeAfter(index uint64) (uint64, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	i, found := slices.BinarySearchFunc(c.after, index, func(a after, index uint64) int { return cmp.Compare(a.index, index) })
	if !found || index == 0 {
		return 0, false
	}
	return c.after[i].size, true
}

// tiles reads tiles for the audit package: the edge from memory, the full ones
// from the store. The caller holds mu.
type tiles struct {
	c *chain
	r reader
}

func (t tiles) Tile(id audit.TileID) ([][32]byte, error) {
	if tile, ok := t.c.edge[id]; ok {
		return tile, nil
	}
	var row fsmpb.Tile
	found, err := t.r.get(tableTile, tileKey(id), &row)
	if err != nil {
		return nil, err
	}
	if !found || len(row.GetHashes()) != audit.TileWidth*32 {
		return nil, fmt.Errorf("%w: a tile of the audit tree is missing", ErrCorrupt)
	}
	tile := make([][32]byte, audit.TileWidth)
	for i := range tile {
		copy(tile[i][:], row.GetHashes()[i*32:])
	}
	return tile, nil
}

// root at any size up to the tree's.
func (c *chain) root(size uint64, r reader) ([32]byte, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if root, ok := c.recent[size]; ok {
		return root, nil
	}
	if size > c.tree.Size() {
		return [32]byte{}, fmt.Errorf("%w: the tree has %d rows", audit.ErrMismatch, c.tree.Size())
	}
	return audit.RootAt(size, tiles{c, r})
}

// rebuildChain makes the chain of a store that holds size rows.
func rebuildChain(db *pebble.DB, r reader, cache *caches, size uint64, compactRange [][]byte) (*chain, error) {
	c := &chain{edge: map[audit.TileID][][32]byte{}, recent: map[uint64][32]byte{}}
	tree, err := audit.RestoreTree(size, compactRange)
	if err != nil {
		return nil, fmt.Errorf("%w: audit tree: %w", ErrCorrupt, err)
	}
	c.tree = tree
	if c.index, err = openIndex(r, indexShape()); err != nil {
		return nil, err
	}
	blocks := newBlocks(r)
	defer blocks.close()
	if err := c.rebuildEdge(r, blocks, size); err != nil {
		return nil, err
	}
	if err := c.index.rebuild(db, cache, blocks, size); err != nil {
		return nil, err
	}
	root, err := audit.RootAt(size, tiles{c, r})
	if err != nil {
		return nil, err
	}
	kept, err := tree.Root()
	if err != nil || kept != root {
		return nil, fmt.Errorf("%w: the audit rows do not give the root that was kept", ErrCorrupt)
	}
	c.note(after{0, size}, root)
	return c, nil
}

func (c *chain) rebuildEdge(r reader, blocks *blocks, size uint64) error {
	for level := uint(0); size>>(8*level) > 0; level++ {
		n := size >> (8 * level)
		id := audit.TileID{Level: level, Index: n / audit.TileWidth}
		for i := n - n%audit.TileWidth; i < n; i++ {
			hash, err := c.edgeHash(r, blocks, level, i)
			if err != nil {
				return err
			}
			c.edge[id] = append(c.edge[id], hash)
		}
	}
	return nil
}

func (c *chain) edgeHash(r reader, blocks *blocks, level uint, index uint64) ([32]byte, error) {
	if level == 0 {
		row, err := blocks.row(index)
		if err != nil {
			return [32]byte{}, err
		}
		return audit.LeafHash(row), nil
	}
	// the root of a full tile of the level below
	tile, err := tiles{c, r}.Tile(audit.TileID{Level: level - 1, Index: index})
	if err != nil {
		return [32]byte{}, err
	}
	return audit.TileRoot(tile), nil
}
