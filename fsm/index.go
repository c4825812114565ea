package fsm

import (
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// shape is how many rows and postings go where.
type shape struct {
	base  uint64 // rows of a run of the first tier
	fan   uint64 // runs that are merged into one of the next tier
	block int    // postings of a block
	pace  int    // postings that a merge moves on with for each new row; more than two, or it falls behind
}

// indexShape is that of every store: what is on disk depends on it.
func indexShape() shape { return shape{base: 4096, fan: 16, block: 512, pace: 4} }

// index finds the audit rows of a caller or of a path, at a cost that grows with
// what it finds, and with the logarithm of the rows.
//
// The postings of some thousand rows are sorted and written as a run; so many runs of
// a tier are merged into one of the next, a block at a time with the entries that
// follow, so that no entry waits for it. A posting is written once a tier and next
// to others, where a row of its own would go through all of the database's levels at
// a random place. Tiers follow each other without a gap, the highest first: the
// numbers of their runs say where each run is.
type index struct {
	shape
	tiers   []uint64  // how many whole runs each has
	merges  []*merge  // of each tier; nil: none is under way
	filling []posting // of the rows that no run holds yet
}

func newIndex(s shape) *index { return &index{shape: s} }

// openIndex reads where the index stands.
func openIndex(r reader, s shape) (*index, error) {
	x := newIndex(s)
	var row fsmpb.Index
	if _, err := r.get(tableIndex, nil, &row); err != nil {
		return nil, err
	}
	x.tiers, x.merges = row.GetRuns(), make([]*merge, len(row.GetRuns()))
	for tier := range x.tiers {
		if err := x.open(r, tier); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// rows of a run of the tier.
func (x *index) rows(tier int) uint64 {
	n := x.base
	for range tier {
		n *= x.fan
	}
	return n
}

// first is where the tier's rows begin: after those of the higher ones.
func (x *index) first(tier int) uint64 {
	n := uint64(0)
	for t := tier + 1; t < len(x.tiers); t++ {
		n += x.tiers[t] * x.rows(t)
	}
	return n
}

// covered is how many rows the runs hold.
func (x *index) covered() uint64 { return x.first(-1) }

// add a row, and write the run that it fills.
func (x *index) add(w *writer, row *audit.Row) {
	x.filling = append(x.filling, posting{w.cache.postedCallers.get(w.keys, row.Caller), row.Index})
	if row.Path != "" {
		x.filling = append(x.filling, posting{w.cache.postedPaths.get(w.keys, row.Path), row.Index})
	}
	if (row.Index+1)%x.base != 0 {
		return
	}
	slices.SortFunc(x.filling, posting.compare)
	to := run{0, row.Index + 1 - x.base}
	for ps := range slices.Chunk(x.filling, x.block) {
		to.set(w, ps)
	}
	x.filling = x.filling[:0]
	x.grow(0)
	x.save(w)
}

// grow counts a new run.
func (x *index) grow(tier int) {
	if tier == len(x.tiers) {
		x.tiers, x.merges = append(x.tiers, 0), append(x.merges, nil)
	}
	x.tiers[tier]++
}

func (x *index) save(w *writer) { w.set(tableIndex, nil, &fsmpb.Index{Runs: slices.Clone(x.tiers)}) }

// work goes on with the merges, before so many rows are added: what it reads is
// committed. Higher tiers come first, since a merge's run is no other's before that.
func (x *index) work(w *writer, rows int) error {
	for tier := len(x.tiers) - 1; tier >= 0; tier-- {
		if err := x.open(w.reader, tier); err != nil {
			return err
		}
		m := x.merges[tier]
		if m == nil {
			continue
		}
		done, err := m.advance(w, rows*x.pace)
		if err != nil {
			return err
		}
		if done {
			x.merges[tier] = nil
			x.tiers[tier] -= x.fan
			x.grow(tier + 1)
			x.save(w)
		}
	}
	return nil
}

// open begins the merge of a tier that has enough runs, or goes on with it.
func (x *index) open(r reader, tier int) (err error) {
	if x.tiers[tier] >= x.fan && x.merges[tier] == nil {
		x.merges[tier], err = openMerge(r, x, tier)
	}
	return err
}

// rebuild adds the rows that no run holds, and writes the runs that they fill: none,
// but in a store whose index is made anew.
func (x *index) rebuild(db *pebble.DB, cache *caches, b *blocks, size uint64) error {
	if x.covered() > size {
		return fmt.Errorf("%w: the index has %d audit rows of %d", ErrCorrupt, x.covered(), size)
	}
	w := newWriter(b.r, b.r.codec.keys, cache, 0)
	for i := x.covered(); i < size; i++ {
		row, err := b.decoded(i)
		if err != nil {
			return err
		}
		x.add(w, &row)
		if (i+1)%x.base != 0 {
			continue
		}
		if err := w.commit(db); err != nil {
			return fmt.Errorf("index audit rows: %w", err)
		}
		w = newWriter(b.r, w.keys, cache, 0)
		if err := x.work(w, int(x.base)); err != nil {
			return err
		}
	}
	return w.commit(db)
}
