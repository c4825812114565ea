package fsm

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

// bucketRows is how many rows a bucket of postings covers.
const bucketRows = 1024

// postings are the row indexes of each caller and each path, so that a query for
// one costs what it returns. A bucket's postings are written when it is full;
// those of the bucket that fills are here.
type postings struct{ pending map[posted][]uint64 }

// posted is what has postings: a caller or a path.
type posted struct{ kind, text string }

const (
	postedCaller = "caller"
	postedPath   = "path"
)

func newPostings() *postings { return &postings{map[posted][]uint64{}} }

func (p posted) key(k *seal.Keyring) [32]byte { return k.Opaque("posting", p.kind, p.text) }

func postingKey(key [32]byte, bucket uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, len(key)+8), key[:]...), bucket)
}

// pend adds a row to the bucket that fills.
func (p *postings) pend(row *audit.Row) {
	offset := row.Index % bucketRows
	caller := posted{postedCaller, row.Caller}
	p.pending[caller] = append(p.pending[caller], offset)
	if row.Path != "" {
		path := posted{postedPath, row.Path}
		p.pending[path] = append(p.pending[path], offset)
	}
}

// add pends a row, and writes the bucket that it fills.
func (p *postings) add(w *writer, row *audit.Row) {
	p.pend(row)
	if row.Index%bucketRows != bucketRows-1 {
		return
	}
	byText := func(a, b posted) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.text, b.text)) }
	for _, what := range slices.SortedFunc(maps.Keys(p.pending), byText) {
		key := postingKey(what.key(w.keys), row.Index/bucketRows)
		w.set(tablePosting, key, &fsmpb.Posting{Deltas: deltas(p.pending[what])})
	}
	clear(p.pending)
}

// deltas turns ascending offsets into differences: they encode small.
func deltas(offsets []uint64) []uint64 {
	out := make([]uint64, len(offsets))
	last := uint64(0)
	for i, o := range offsets {
		out[i] = o - last
		last = o
	}
	return out
}

func offsets(deltas []uint64) []uint64 {
	out := make([]uint64, len(deltas))
	last := uint64(0)
	for i, d := range deltas {
		last += d
		out[i] = last
	}
	return out
}
