package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// due is something that is to end.
type due struct {
	key     []byte // when, in unix nanoseconds, and eight opaque bytes
	request []byte // its key; nil: what is to end stands in the due's row
	since   int64  // when that request was remembered; 0: its row says so
	more    int    // dues that are the same: it was remembered again until then
}

func momentOf(key []byte) int64 { return int64(binary.BigEndian.Uint64(key)) }

// Dues of the requests of an entry that end at the same moment lie in one row, in
// their order: of each the opaque bytes, since when, and the request's key.
const (
	dueOpaque = 8
	dueSince  = 8
	dueSize   = dueOpaque + dueSince + 32
)

func dueBlockKey(at int64, index uint64) []byte {
	key := binary.BigEndian.AppendUint64([]byte{byte(tableDue)}, uint64(at))
	return binary.BigEndian.AppendUint64(key, index)
}

func appendDue(items []byte, d due) []byte {
	items = append(items, d.key[8:]...)
	items = binary.BigEndian.AppendUint64(items, uint64(d.since))
	return append(items, d.request...)
}

// dueBlocks makes the rows of an entry's dues, which are sorted.
func dueBlocks(dues []due, index uint64, fn func(key []byte, block *fsmpb.RequestDues) error) error {
	for len(dues) > 0 {
		at, items := momentOf(dues[0].key), []byte(nil)
		for len(dues) > 0 && momentOf(dues[0].key) == at {
			items = appendDue(items, dues[0])
			dues = dues[1:]
		}
		if err := fn(dueBlockKey(at, index), &fsmpb.RequestDues{Items: items}); err != nil {
			return err
		}
	}
	return nil
}

// readDues opens a row of dues.
func readDues(r reader, it *pebble.Iterator) ([]due, error) {
	var block fsmpb.RequestDues
	if err := openValue(r, it.Key(), it.ValueAndErr, &block); err != nil {
		return nil, err
	}
	if len(it.Key()) != 1+8+8 {
		return nil, errRow
	}
	return parseDues(it.Key()[1:9], block.GetItems())
}

// parseDues reads the items of a row, at a moment.
func parseDues(at, items []byte) ([]due, error) {
	if len(items)%dueSize != 0 {
		return nil, errRow
	}
	dues := make([]due, 0, len(items)/dueSize)
	for ; len(items) > 0; items = items[dueSize:] {
		dues = append(dues, due{
			key: slices.Concat(at, items[:dueOpaque]), since: int64(binary.BigEndian.Uint64(items[dueOpaque:])),
			request: items[dueOpaque+dueSince : dueSize],
		})
	}
	return dues, nil
}

// dueQueue reads what is to end, moment by moment.
type dueQueue struct {
	r            reader
	rows, blocks *pebble.Iterator
	read         []dueBlock
}

// dueBlock is a row of dues that was read: with its last due, it has ended.
type dueBlock struct{ key, last []byte }

// openDues begins with what ends at a moment, or later.
func openDues(r reader, from int64) (*dueQueue, error) {
	q, err := &dueQueue{r: r}, error(nil)
	if q.rows, err = r.db.NewIter(tableBounds(tableExpiry)); err != nil {
		return nil, fmt.Errorf("%w: scan: %w", ErrCorrupt, err)
	}
	if q.blocks, err = r.db.NewIter(tableBounds(tableDue)); err != nil {
		return nil, fmt.Errorf("%w: scan: %w", ErrCorrupt, errors.Join(err, q.rows.Close()))
	}
	at := binary.BigEndian.AppendUint64(nil, uint64(from))
	q.rows.SeekGE(fullKey(tableExpiry, at))
	q.blocks.SeekGE(fullKey(tableDue, at))
	return q, nil
}

// moment is the next one at which something is to end; ok is false behind the last.
func (q *dueQueue) moment() (at int64, ok bool) {
	for _, it := range []*pebble.Iterator{q.rows, q.blocks} {
		if it.Valid() {
			if m := momentOf(it.Key()[1:]); !ok || m < at {
				at, ok = m, true
			}
		}
	}
	return at, ok
}

// take is all that is to end at the next moment, in order.
func (q *dueQueue) take() ([]due, error) {
	var all []due
	at, _ := q.moment()
	for ; q.rows.Valid() && momentOf(q.rows.Key()[1:]) == at; q.rows.Next() {
		all = append(all, due{key: slices.Clone(q.rows.Key()[1:])})
	}
	for ; q.blocks.Valid() && momentOf(q.blocks.Key()[1:]) == at; q.blocks.Next() {
		dues, err := readDues(q.r, q.blocks)
		if err != nil {
			return nil, err
		}
		if len(dues) > 0 {
			q.read = append(q.read, dueBlock{slices.Clone(q.blocks.Key()), dues[len(dues)-1].key})
		}
		all = append(all, dues...)
	}
	slices.SortFunc(all, func(a, b due) int { return bytes.Compare(a.key, b.key) })
	return unite(all), nil
}

// unite makes one of those that are the same.
func unite(dues []due) []due {
	one := dues[:0]
	for _, d := range dues {
		if n := len(one); n > 0 && bytes.Equal(one[n-1].key, d.key) {
			one[n-1].more++
			continue
		}
		one = append(one, d)
	}
	return one
}

func (q *dueQueue) close() error {
	if err := errors.Join(q.rows.Close(), q.blocks.Close()); err != nil {
		return fmt.Errorf("%w: scan: %w", ErrCorrupt, err)
	}
	return nil
}
