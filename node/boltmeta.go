package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// A bbolt database begins with two meta pages, written in turn: a header of 16
// bytes, then magic, version, page size, flags, root bucket, freelist, high water
// mark, transaction, and an FNV-1a sum of these.
const (
	boltHeader   = 16
	boltMetaSize = 64
	boltSumAt    = 56
	boltPageAt   = 8
	boltMagic    = 0xED0CDAED
)

// checkBolt refuses a database whose pages are damaged, or one meta page: bbolt would
// go on from the other, as it was one transaction before. A vote could be given twice.
// No crash leaves such a page: what counts in it is less than a sector.
func checkBolt(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	newest, err := boltMeta(f, 0)
	if info, statErr := f.Stat(); statErr == nil && info.Size() == 0 {
		return f.Close() // killed before it was made
	}
	var second []byte
	if err == nil {
		second, err = boltMeta(f, int64(binary.LittleEndian.Uint32(newest[boltPageAt:])))
	}
	if err == nil {
		if binary.LittleEndian.Uint64(second[boltTxAt:]) > binary.LittleEndian.Uint64(newest[boltTxAt:]) {
			newest = second
		}
		err = checkBoltPages(f, newest)
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %s is cut short", ErrLog, path)
	}
	return errors.Join(err, f.Close())
}

func boltMeta(f *os.File, page int64) ([]byte, error) {
	meta := make([]byte, boltMetaSize)
	if _, err := f.ReadAt(meta, page+boltHeader); err != nil {
		return nil, err
	}
	sum := fnv.New64a()
	_, _ = sum.Write(meta[:boltSumAt])
	if binary.LittleEndian.Uint32(meta) != boltMagic || binary.LittleEndian.Uint64(meta[boltSumAt:]) != sum.Sum64() {
		return nil, fmt.Errorf("%w: a meta page of %s is damaged", ErrLog, f.Name())
	}
	return meta, nil
}
