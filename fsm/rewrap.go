package fsm

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const staleHeads = 4096 // looked at for one page

// StaleVersion is a version whose data key is not wrapped under the active value
// key.
type StaleVersion struct {
	Record    []byte // record key
	Version   uint64
	RequestID [16]byte
	Digest    []byte
	Sealed    []byte
}

// StalePage is what a look at some records found; Next is where the following
// page begins, nil at the end.
type StalePage struct {
	Versions []StaleVersion
	Next     []byte
}

// StaleVersions looks for versions that are not under that value key, from a
// record key on (nil: the first), until it has count versions or size bytes of
// them. What it returns may change at any time: a rewrap compares digests.
func (s *Store) StaleVersions(ctx context.Context, from []byte, key uint32, count, size int) (StalePage, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return StalePage{}, ErrClosed
	}
	r := reader{s.db, s.codec}
	it, err := r.db.NewIter(tableBounds(tableHead))
	if err != nil {
		return StalePage{}, fmt.Errorf("%w: scan: %w", ErrCorrupt, err)
	}
	defer func() { _ = it.Close() }()
	var page StalePage
	bytes, heads := 0, 0
	for ok := it.SeekGE(fullKey(tableHead, from)); ok && ctx.Err() == nil; ok = it.Next() {
		record := slices.Clone(it.Key()[1:])
		if len(page.Versions) >= count || bytes >= size || heads >= staleHeads {
			page.Next = record
			return page, nil
		}
		heads++
		stale, err := staleOf(r, it, record, key)
		if err != nil {
			return page, err
		}
		for _, v := range stale {
			bytes += len(v.Sealed)
		}
		page.Versions = append(page.Versions, stale...)
	}
	return page, ctx.Err()
}

func staleOf(r reader, it *pebble.Iterator, record []byte, key uint32) ([]StaleVersion, error) {
	var h fsmpb.Head
	if err := openValue(r, it.Key(), it.ValueAndErr, &h); err != nil {
		return nil, err
	}
	var out []StaleVersion
	for _, v := range h.GetVersions() {
		if v.GetDestroyed() || v.GetValueKey() == key {
			continue
		}
		var value fsmpb.Value
		found, err := r.get(tableValue, binary.BigEndian.AppendUint64(slices.Clone(record), v.GetVersion()), &value)
		if err != nil {
			return nil, err
		}
		digest, id := identify(v, value.GetSealed(), value.GetRequestId())
		if !found || len(id) != idSize || !v.GetApart() && !bytes.Equal(digest, v.GetDigest()) { // changed since the head was read
			continue
		}
		out = append(out, StaleVersion{record, v.GetVersion(), [16]byte(id), digest, value.GetSealed()})
	}
	return out, nil
}
