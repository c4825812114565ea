package fsm

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/internal/quiet"
	"github.com/hexrdev/hexrd/seal"
)

const (
	rowFormat    = 1 // of how a row is sealed
	memTableSize = 16 << 20
	blockCache   = 64 << 20

	// What is written is mostly read soon, from memory, or never: so level 0 may hold
	// more and larger tables before they are merged, and filters, of bits a key, spare
	// reads of those that lack a key.
	level0Tables    = 8
	level0TableSize = 8 << 20
	filterBits      = 10
)

// openPebble opens a database directory; without anyone to hear of errors,
// read-only. The write-ahead log is off: the raft log is the write-ahead log, and a
// crash leaves a prefix of the batches.
func openPebble(dir string, log *slog.Logger, failed func(error)) (*pebble.DB, error) {
	readOnly := failed == nil
	cache := pebble.NewCache(blockCache)
	defer cache.Unref()
	options := &pebble.Options{
		L0CompactionThreshold: level0Tables, TargetFileSizes: [7]int64{level0TableSize}, // of the others: multiples
		DisableWAL: true, FS: files{vfs.Default}, FormatMajorVersion: pebble.FormatNewest, MemTableSize: memTableSize, Cache: cache,
		Logger: quiet.Library{
			Log: log, Message: "the store's database reports a failure: look at the disk",
			Info: quiet.Never, Warn: slog.LevelWarn, Error: slog.LevelError,
		},
		ReadOnly: readOnly, ErrorIfNotExists: readOnly, EventListener: &pebble.EventListener{
			BackgroundError: failed,
			DataCorruption: func(info pebble.DataCorruptionInfo) { // Pebble's own would panic
				if !readOnly {
					failed(fmt.Errorf("%w: %s can't be read", ErrCorrupt, filepath.Base(info.Path)))
				}
			},
		},
	}
	for i := range options.Levels {
		options.Levels[i].FilterPolicy = bloom.FilterPolicy(filterBits)
		options.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression } // what is sealed does not shrink
	}
	db, err := pebble.Open(dir, options)
	if err == nil {
		return db, nil
	}
	var errno syscall.Errno // the file system's: full, locked, not permitted
	if errors.As(err, &errno) {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return nil, fmt.Errorf("%w: open: %w", ErrCorrupt, err)
}

// damaged says in our words that a table can't be read.
func damaged(err error) error {
	if pebble.IsCorruptionError(err) && !errors.Is(err, ErrCorrupt) {
		return fmt.Errorf("%w: a table can't be read", ErrCorrupt)
	}
	return err
}

// codec seals rows: a row opens only in its cluster, under its key.
type codec struct {
	keys   *seal.Keyring
	prefix []byte
}

func newCodec(keys *seal.Keyring) codec {
	id := keys.ClusterID()
	return codec{keys, append([]byte{'r', 'o', 'w', rowFormat}, id[:]...)}
}

func (c codec) ad(key []byte) []byte {
	ad := make([]byte, 0, len(c.prefix)+len(key))
	return append(append(ad, c.prefix...), key...)
}

func (c codec) seal(key, plaintext []byte) ([]byte, error) {
	return c.keys.SealRow(c.ad(key), plaintext)
}

func (c codec) open(key, sealed []byte) ([]byte, error) {
	plaintext, err := c.keys.OpenRow(c.ad(key), sealed)
	if errors.Is(err, seal.ErrFormat) {
		return nil, fmt.Errorf("row: %w", ErrUnknownFormat)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: a row does not open in its place", ErrCorrupt)
	}
	return plaintext, nil
}

func fullKey(t table, key []byte) []byte {
	k := make([]byte, 0, 1+len(key))
	return append(append(k, byte(t)), key...)
}

// tableBounds are the keys of a table.
func tableBounds(t table) *pebble.IterOptions {
	return &pebble.IterOptions{LowerBound: []byte{byte(t)}, UpperBound: []byte{byte(t) + 1}}
}

// reader reads rows of the database or of a snapshot of it.
type reader struct {
	db interface {
		Get(key []byte) ([]byte, io.Closer, error)
		NewIter(o *pebble.IterOptions) (*pebble.Iterator, error)
	}
	codec codec
}

// raw returns an opened row, or nil where there is none.
func (r reader) raw(key []byte) ([]byte, error) {
	sealed, closer, err := r.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: read: %w", ErrCorrupt, err)
	}
	plaintext, err := r.codec.open(key, sealed)
	if closeErr := closer.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("%w: read: %w", ErrCorrupt, closeErr)
	}
	if plaintext == nil && err == nil {
		plaintext = []byte{} // an empty message
	}
	return plaintext, err
}

func (r reader) get(t table, key []byte, m proto.Message) (bool, error) {
	plaintext, err := r.raw(fullKey(t, key))
	if err != nil || plaintext == nil {
		return false, err
	}
	return true, decode(plaintext, m)
}

// some calls fn with up to so many rows of a table, from a key on, and returns where
// to go on; whole: nothing is left.
func (r reader) some(t table, from []byte, most int, fn func(it *pebble.Iterator) error) (next []byte, whole bool, err error) {
	it, err := r.db.NewIter(tableBounds(t))
	if err != nil {
		return from, false, fmt.Errorf("%w: scan: %w", ErrCorrupt, err)
	}
	n := 0
	for ok := it.SeekGE(fullKey(t, from)); ok && n < most && err == nil; ok = it.Next() {
		from = append(append(from[:0], it.Key()[1:]...), 0)
		err = fn(it)
		n++
	}
	if closeErr := it.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("%w: scan: %w", ErrCorrupt, closeErr)
	}
	return from, n < most && err == nil, err
}

// empty reports whether a table has no row.
func (r reader) empty(t table) (bool, error) {
	_, whole, err := r.some(t, nil, 1, func(*pebble.Iterator) error { return nil })
	return whole, err
}

var errRow = fmt.Errorf("%w: a row does not decode", ErrCorrupt)

func decode(plaintext []byte, m proto.Message) error {
	if err := proto.Unmarshal(plaintext, m); err != nil {
		return errRow
	}
	return nil
}
