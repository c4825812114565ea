package fsm

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// values reads the values that an entry's gets release, from the database as it is
// before the entry: from the second on with one iterator for all, which finds each for
// less than a look of its own.
type values struct {
	read int
	it   *pebble.Iterator
}

// raw is reader.raw.
func (v *values) raw(r reader, full []byte) ([]byte, error) {
	if v.read++; v.read == 1 {
		return r.raw(full)
	}
	if v.it == nil {
		var err error
		if v.it, err = r.db.NewIter(tableBounds(tableValue)); err != nil {
			return nil, fmt.Errorf("%w: scan: %w", ErrCorrupt, err)
		}
	}
	if !v.it.SeekPrefixGE(full) {
		if err := v.it.Error(); err != nil {
			return nil, fmt.Errorf("%w: read: %w", ErrCorrupt, err)
		}
		return nil, nil
	}
	sealed, err := v.it.ValueAndErr()
	if err != nil {
		return nil, fmt.Errorf("%w: read: %w", ErrCorrupt, err)
	}
	return r.codec.open(full, sealed)
}

func (v *values) close() error {
	if v.it == nil {
		return nil
	}
	if err := v.it.Close(); err != nil {
		return fmt.Errorf("%w: read: %w", ErrCorrupt, err)
	}
	return nil
}
