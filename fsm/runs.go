package fsm

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// run is the postings of the audit rows from first on, as many as those of its tier
// have, in order, as blocks; a block's key has its first posting.
type run struct {
	tier  byte
	first uint64
}

func (n run) prefix() []byte {
	return binary.BigEndian.AppendUint64([]byte{n.tier}, n.first)
}

func (n run) blockKey(p posting) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(n.prefix(), p.key), p.row)
}

// blockKeySize is that of a full key.
const blockKeySize = 1 + 1 + 8 + 8 + 8

func (n run) set(w *writer, ps []posting) {
	w.set(tableRun, n.blockKey(ps[0]), packPostings(n.first, ps))
}

// runs reads blocks, as they are committed.
type runs struct {
	r  reader
	it *pebble.Iterator
}

func readRuns(r reader) (runs, error) {
	it, err := r.db.NewIter(tableBounds(tableRun))
	if err != nil {
		return runs{}, fmt.Errorf("%w: scan: %w", ErrCorrupt, err)
	}
	return runs{r, it}, nil
}

func (rs runs) close() { _ = rs.it.Close() }

// seek goes to the block that holds the posting, if any of the run does: the last
// one that begins at it or before, or else the run's first.
func (rs runs) seek(n run, p posting) bool {
	if p.row++; rs.it.SeekLT(fullKey(tableRun, n.blockKey(p))) && rs.in(n) {
		return true
	}
	return rs.it.SeekGE(fullKey(tableRun, n.prefix())) && rs.in(n)
}

// after goes to the run's first block after one with that key.
func (rs runs) after(n run, key []byte) bool {
	return rs.it.SeekGE(append(fullKey(tableRun, key), 0)) && rs.in(n)
}

// next goes to the run's next block.
func (rs runs) next(n run) bool { return rs.it.Next() && rs.in(n) }

// last goes to the run's last block.
func (rs runs) last(n run) bool {
	return rs.it.SeekLT(fullKey(tableRun, run{n.tier, n.first + 1}.prefix())) && rs.in(n)
}

func (rs runs) in(n run) bool {
	key := rs.it.Key()
	return len(key) == blockKeySize && string(key[1:10]) == string(n.prefix())
}

// begins is the first posting of the block that it stands on.
func (rs runs) begins() posting {
	key := rs.it.Key()
	return posting{binary.BigEndian.Uint64(key[10:]), binary.BigEndian.Uint64(key[18:])}
}

func (rs runs) block(n run) ([]posting, error) {
	var m fsmpb.Postings
	if err := openValue(rs.r, rs.it.Key(), rs.it.ValueAndErr, &m); err != nil {
		return nil, err
	}
	return unpackPostings(n.first, &m)
}

func (rs runs) err() error {
	if err := rs.it.Error(); err != nil {
		return fmt.Errorf("%w: scan: %w", ErrCorrupt, err)
	}
	return nil
}
