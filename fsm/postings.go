package fsm

import (
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
type postings struct{ pending map[string][]uint64 }

func newPostings() *postings { return &postings{map[string][]uint64{}} }

func callerPosting(k *seal.Keyring, caller string) string {
	key := k.Opaque("posting", "caller", caller)
	return string(key[:])
}

func pathPosting(k *seal.Keyring, path string) string {
	key := k.Opaque("posting", "path", path)
	return string(key[:])
}

func postingKey(key string, bucket uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(key), bucket)
}

// pend adds a row to the bucket that fills.
func (p *postings) pend(k *seal.Keyring, row *audit.Row) {
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
	p.pend(w.keys, row)
	if row.Index%bucketRows != bucketRows-1 {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(p.pending)) {
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
