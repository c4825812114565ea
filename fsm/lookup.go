package fsm

import (
	"context"
	"errors"
	"slices"
)

// part is where to look for postings: those of a run that come after one.
type part struct {
	run
	rows  uint64
	after *posting // nil: all
}

// parts of all rows that runs hold, ascending. A merge's run has the first postings of
// its inputs, of all their rows: it comes before them.
func (x *index) parts() []part {
	var all []part
	for tier := len(x.tiers) - 1; tier >= 0; tier-- {
		first, rows, merging := x.first(tier), x.rows(tier), uint64(0)
		m := x.merges[tier]
		if m != nil && m.begun {
			all = append(all, part{m.output, x.fan * rows, nil})
			merging = x.fan
		}
		for i := range x.tiers[tier] {
			p := part{run{byte(tier), first + i*rows}, rows, nil}
			if i < merging {
				last := m.last
				p.after = &last
			}
			all = append(all, p)
		}
	}
	return all
}

// unwritten is the rows of a key that no run holds yet, ascending.
func (x *index) unwritten(key uint64) []uint64 {
	var rows []uint64
	for _, p := range x.filling {
		if p.key == key {
			rows = append(rows, p.row)
		}
	}
	return rows
}

// find calls fn with the part's rows of a key, ascending, [from, to), until it
// returns false; more: it did not.
func (p part) find(ctx context.Context, rs runs, key, from, to uint64, fn func(uint64) (bool, error)) (more bool, err error) {
	start := posting{key, max(from, p.first)}
	if p.after != nil && p.after.compare(start) >= 0 {
		start = posting{p.after.key, p.after.row + 1}
	}
	if start.key != key || start.row >= to || from >= p.first+p.rows {
		return true, nil
	}
	for ok := rs.seek(p.run, start); ok && ctx.Err() == nil && rs.begins().compare(posting{key, to}) < 0; ok = rs.next(p.run) {
		ps, err := rs.block(p.run)
		if err != nil {
			return false, err
		}
		i, _ := slices.BinarySearchFunc(ps, start, posting.compare)
		for _, q := range ps[i:] {
			if q.key != key || q.row >= to {
				return true, nil
			}
			if more, err := fn(q.row); err != nil || !more {
				return false, err
			}
		}
	}
	return true, errors.Join(ctx.Err(), rs.err())
}
