package fsm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// requestBucket: rows of requests lie beside those that end in the same minute.
const requestBucket = int64(time.Minute)

// requests is where the database has what is remembered of requests. A row ends with
// its due: nothing is written then but how far the sweeps have come, and the rows of
// a bucket are dropped at once when all have ended.
type requests struct {
	filter  *requestFilter
	buckets []uint32 // that may hold rows, ascending
	swept   []byte   // the last due that was ended: no request of it, or of one before, is left
	older   bool     // a store of format 2 left rows, under their keys alone
}

func newRequests() *requests { return &requests{filter: newRequestFilter(0)} }

// openRequests finds what is there. The store holds entries up to an index.
func openRequests(r reader, swept []byte, index uint64) (*requests, error) {
	q := &requests{filter: newRequestFilter(index), swept: swept}
	it, err := r.db.NewIter(tableBounds(tableBucket))
	if err != nil {
		return nil, fmt.Errorf("%w: scan: %w", ErrCorrupt, err)
	}
	for ok := it.First(); ok; {
		b := binary.BigEndian.Uint32(it.Key()[1:])
		q.buckets = append(q.buckets, b)
		ok = it.SeekGE(bucketKey(b + 1))
	}
	if err := it.Close(); err != nil {
		return nil, fmt.Errorf("%w: scan: %w", ErrCorrupt, err)
	}
	none, err := r.empty(tableRequest)
	q.older = !none
	return q, err
}

func bucketOf(until int64) uint32 { return uint32(until / requestBucket) }

func bucketKey(b uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{byte(tableBucket)}, b)
}

// find reads a request's row, and says where it is; nil where there is none. It may be
// one that has ended.
func (q *requests) find(r reader, key []byte) (row, place []byte, err error) {
	if !q.filter.may(key) {
		return nil, nil, nil
	}
	for _, b := range slices.Backward(q.buckets) {
		place = append(bucketKey(b), key...)
		if row, err = r.raw(place); row != nil || err != nil {
			return row, place, err
		}
	}
	if !q.older {
		return nil, nil, nil
	}
	place = fullKey(tableRequest, key)
	row, err = r.raw(place)
	return row, place, err
}

// wrote: that bucket has a row.
func (q *requests) wrote(until int64) {
	if i, found := slices.BinarySearch(q.buckets, bucketOf(until)); !found {
		q.buckets = slices.Insert(q.buckets, i, bucketOf(until))
	}
}

// drop deletes the buckets of which everything has ended, once that due was.
func (q *requests) drop(batch *pebble.Batch, swept []byte) error {
	left := bucketOf(momentOf(swept))
	i, _ := slices.BinarySearch(q.buckets, left)
	if i == 0 {
		return nil
	}
	first := q.buckets[0]
	q.buckets = slices.Delete(q.buckets, 0, i)
	return batch.DeleteRange(bucketKey(first), bucketKey(left), nil)
}

// replaced: the row at that place was deleted. One of format 2 counts by itself, others
// with their dues.
func (q *requests) replaced(place string) {
	if place != "" && table(place[0]) == tableRequest {
		q.filter.remove([]byte(place[1:]))
	}
}

// notAfter compares dues.
func notAfter(due, swept []byte) bool { return bytes.Compare(due, swept) <= 0 }
