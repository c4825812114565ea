package fsm

import (
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

const (
	resealRows  = 64
	resealBytes = 64 << 10
	countRows   = 4096 // in one go: Restore waits that long
)

// ResealState is how far the rows of this store are sealed with the storage key
// that seals now.
type ResealState struct {
	// Clean: all rows are sealed with this key, or one that was active later. 0:
	// the first one.
	Clean uint32
	// Left is how many rows are still to be sealed anew, at most, where they were
	// counted.
	Left    uint64
	Counted bool
}

// resealing is what is known of the rows of the database that is open.
type resealing struct {
	target  uint32
	counted bool
	from    []byte // of the count: where it goes on
	left    uint64
}

// ResealState of the store.
func (s *Store) ResealState() (ResealState, error) {
	s.apply.Lock()
	defer s.apply.Unlock()
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return ResealState{}, ErrClosed
	}
	row, err := s.resealRow()
	return ResealState{row.GetClean(), s.reseal.left, s.reseal.counted}, err
}

func (s *Store) resealRow() (*fsmpb.Reseal, error) {
	var row fsmpb.Reseal
	_, err := reader{s.db, s.codec}.get(tableReseal, nil, &row)
	return &row, err
}

// Reseal seals some of the store's rows with the storage key that seals now, and
// reports whether none is left. It goes on where it was, also in a store that
// came as a snapshot. Apply waits for it, so that neither loses what the other
// wrote: a call is short. What it did is as durable as what Apply did.
func (s *Store) Reseal() (done bool, err error) {
	s.apply.Lock()
	defer s.apply.Unlock()
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.db == nil:
		return false, ErrClosed
	case s.failed != nil:
		return false, s.failed
	}
	active := s.codec.keys.Active(seal.StorageKey)
	row, err := s.resealRow()
	if err != nil || row.GetClean() == active {
		return err == nil, err
	}
	if row.GetKeyId() != active {
		row.KeyId, row.Cursor = active, nil
	}
	if s.reseal.target != active {
		s.reseal = resealing{target: active, from: row.GetCursor()}
	}
	if !s.reseal.counted {
		return false, s.countStale(active)
	}
	return s.resealFrom(row, active)
}

// countStale counts some of the rows that are sealed with another key.
func (s *Store) countStale(active uint32) error {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return fmt.Errorf("%w: scan: %w", ErrCorrupt, err)
	}
	defer func() { _ = it.Close() }()
	n := 0
	for ok := it.SeekGE(s.reseal.from); ok; ok = it.Next() {
		if n++; n > countRows {
			s.reseal.from = slices.Clone(it.Key())
			return it.Error()
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("%w: scan: %w", ErrCorrupt, err)
		}
		if id, _ := seal.RowKeyID(value); id != active {
			s.reseal.left++
		}
	}
	s.reseal.counted = true
	return it.Error()
}

// resealFrom does the next rows, and moves the cursor in the same batch.
func (s *Store) resealFrom(row *fsmpb.Reseal, active uint32) (done bool, err error) {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return false, fmt.Errorf("%w: scan: %w", ErrCorrupt, err)
	}
	batch := s.db.NewBatch()
	defer func() { _, _ = it.Close(), batch.Close() }()
	looked, changed := 0, uint64(0)
	done = true
	for ok := it.SeekGE(row.GetCursor()); ok; ok = it.Next() {
		if looked++; looked > 16*resealRows || changed >= resealRows || batch.Len() > resealBytes {
			row.Cursor, done = slices.Clone(it.Key()), false
			break
		}
		moved, err := s.resealOne(batch, it, active)
		if err != nil {
			return false, err
		}
		if moved {
			changed++
		}
	}
	if err := it.Error(); err != nil {
		return false, fmt.Errorf("%w: scan: %w", ErrCorrupt, err)
	}
	if done {
		row.Clean, row.Cursor = active, nil
	}
	if err := s.stageReseal(batch, row); err != nil {
		return false, err
	}
	if err := s.db.Apply(batch, pebble.NoSync); err != nil {
		return false, fmt.Errorf("write store: %w", err)
	}
	s.reseal.left -= min(s.reseal.left, changed)
	if done {
		s.reseal.left = 0
	}
	return done, nil
}

func (s *Store) resealOne(batch *pebble.Batch, it *pebble.Iterator, active uint32) (bool, error) {
	value, err := it.ValueAndErr()
	if err != nil {
		return false, fmt.Errorf("%w: scan: %w", ErrCorrupt, err)
	}
	if id, _ := seal.RowKeyID(value); id == active {
		return false, nil
	}
	plaintext, err := s.codec.open(it.Key(), value)
	if err != nil {
		return false, err
	}
	sealed, err := s.codec.seal(it.Key(), plaintext)
	if err != nil {
		return false, err
	}
	return true, batch.Set(it.Key(), sealed, nil)
}

func (s *Store) stageReseal(batch *pebble.Batch, row *fsmpb.Reseal) error {
	plaintext, err := deterministic.Marshal(row)
	if err != nil {
		return err
	}
	key := fullKey(tableReseal, nil)
	sealed, err := s.codec.seal(key, plaintext)
	if err != nil {
		return err
	}
	return batch.Set(key, sealed, nil)
}
