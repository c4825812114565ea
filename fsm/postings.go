package fsm

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// bucketRows is how many rows a bucket of postings covers.
const bucketRows = 1024

// postings are the row indexes of each caller and each path, so that a query for
// one costs what it returns. A bucket's postings are written when it is full;
// those of the bucket that fills are here.
type postings struct{ pending map[[32]byte][]uint64 }

func newPostings() *postings { return &postings{map[[32]byte][]uint64{}} }

// opaquer gives opaque keys: a keyring, or one with a cache.
type opaquer func(domain string, parts ...string) [32]byte

func callerPosting(k opaquer, caller string) [32]byte { return k("posting", "caller", caller) }

func pathPosting(k opaquer, path string) [32]byte { return k("posting", "path", path) }

func postingKey(key [32]byte, bucket uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, len(key)+8), key[:]...), bucket)
}

// pend adds a row to the bucket that fills.
func (p *postings) pend(k opaquer, row *audit.Row) {
	offset := row.Index % bucketRows
	caller := callerPosting(k, row.Caller)
	p.pending[caller] = append(p.pending[caller], offset)
	if row.Path != "" {
		path := pathPosting(k, row.Path)
		p.pending[path] = append(p.pending[path], offset)
	}
}

// add pends a row, and writes the bucket that it fills.
func (p *postings) add(w *writer, row *audit.Row) {
	p.pend(w.opaqueKey, row)
	if row.Index%bucketRows != bucketRows-1 {
		return
	}
	ascending := func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) }
	for _, key := range slices.SortedFunc(maps.Keys(p.pending), ascending) {
		w.set(tablePosting, postingKey(key, row.Index/bucketRows), &fsmpb.Posting{Deltas: deltas(p.pending[key])})
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
