package fsm

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// blocks reads audit rows by their index; it keeps the block it read last. Not
// safe for concurrent use.
type blocks struct {
	r    reader
	it   *pebble.Iterator
	last *fsmpb.RowBlock
}

func newBlocks(r reader) *blocks { return &blocks{r: r} }

func (b *blocks) close() {
	if b.it != nil {
		_ = b.it.Close()
	}
}

// row returns the encoded row.
func (b *blocks) row(index uint64) ([]byte, error) {
	if !b.holds(index) {
		if err := b.seek(index); err != nil {
			return nil, err
		}
	}
	if !b.holds(index) {
		return nil, fmt.Errorf("%w: audit row %d is missing", ErrCorrupt, index)
	}
	return b.last.GetRows()[index-b.last.GetFirst()], nil
}

func (b *blocks) decoded(index uint64) (audit.Row, error) {
	encoded, err := b.row(index)
	if err != nil {
		return audit.Row{}, err
	}
	row, err := audit.DecodeRow(encoded)
	if err != nil {
		return audit.Row{}, fmt.Errorf("%w: audit row %d: %w", ErrCorrupt, index, err)
	}
	return row, nil
}

func (b *blocks) holds(index uint64) bool {
	return b.last != nil && index >= b.last.GetFirst() && index-b.last.GetFirst() < uint64(len(b.last.GetRows()))
}

// seek reads the last block that begins at or before the index.
func (b *blocks) seek(index uint64) error {
	if b.it == nil {
		it, err := b.r.db.NewIter(tableBounds(tableRows))
		if err != nil {
			return fmt.Errorf("%w: scan: %w", ErrCorrupt, err)
		}
		b.it = it
	}
	if !b.it.SeekLT(fullKey(tableRows, rowKey(index+1))) {
		return b.it.Error()
	}
	sealed, err := b.it.ValueAndErr()
	if err != nil {
		return fmt.Errorf("%w: scan: %w", ErrCorrupt, err)
	}
	plaintext, err := b.r.codec.open(b.it.Key(), sealed)
	if err != nil {
		return err
	}
	block := &fsmpb.RowBlock{}
	if err := decode(plaintext, block); err != nil {
		return err
	}
	if block.GetFirst() != binary.BigEndian.Uint64(b.it.Key()[1:]) {
		return fmt.Errorf("%w: an audit block is out of its place", ErrCorrupt)
	}
	b.last = block
	return nil
}
