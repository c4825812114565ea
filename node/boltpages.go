package node

import (
	"encoding/binary"
	"fmt"
	"os"
)

// A page of a bbolt database: a header of its own number, flags, the count of its
// elements and how many pages follow it as parts of it; then elements of 16 bytes. Those
// of a branch end with the number of a page; those of a leaf hold flags, where behind
// themselves their key lies, and the lengths of key and value. A bucket is a value that
// begins with the number of its root, 0 where its page lies in the value itself.
const (
	boltElement  = 16
	boltBranch   = 1
	boltLeaf     = 2
	boltIsBucket = 1

	boltBucketSize = 16 // root and sequence
	boltMade       = 1  // the transaction of a database that was just made, without buckets

	boltRootAt = 16 // of the meta
	boltHighAt = 40 // pages below are in use or free
	boltTxAt   = 48
)

// boltPages walks the pages of a database as they refer to each other. bbolt trusts
// them: what is damaged there ends the process, or never ends.
type boltPages struct {
	f    *os.File
	size int64
	high uint64
	seen map[uint64]bool
}

// checkBoltPages refuses a database whose newest tree does not hang together.
func checkBoltPages(f *os.File, meta []byte) error {
	p := &boltPages{
		f: f, size: int64(binary.LittleEndian.Uint32(meta[boltPageAt:])), high: binary.LittleEndian.Uint64(meta[boltHighAt:]), seen: map[uint64]bool{},
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if p.size < boltMetaSize+boltHeader || p.high > uint64(info.Size()/p.size) {
		return p.damaged(0)
	}
	root := binary.LittleEndian.Uint64(meta[boltRootAt:])
	data, err := p.read(root)
	if err != nil {
		return err
	}
	if boltCount(data) == 0 && binary.LittleEndian.Uint64(meta[boltTxAt:]) > boltMade {
		return p.damaged(root)
	}
	return p.tree(root, data)
}

func (p *boltPages) damaged(page uint64) error {
	return fmt.Errorf("%w: page %d of %s is damaged", ErrLog, page, p.f.Name())
}

// tree walks all that a page refers to.
func (p *boltPages) tree(page uint64, data []byte) error {
	children, ok := boltChildren(data)
	if !ok {
		return p.damaged(page)
	}
	for _, child := range children {
		data, err := p.read(child)
		if err != nil {
			return err
		}
		if err := p.tree(child, data); err != nil {
			return err
		}
	}
	return nil
}

// read returns a page with what follows it, once.
func (p *boltPages) read(page uint64) ([]byte, error) {
	if page >= p.high || page < 2 {
		return nil, p.damaged(page)
	}
	data, at := make([]byte, p.size), int64(page)*p.size
	if _, err := p.f.ReadAt(data, at); err != nil {
		return nil, err
	}
	more := uint64(binary.LittleEndian.Uint32(data[12:]))
	if binary.LittleEndian.Uint64(data) != page || page+more >= p.high {
		return nil, p.damaged(page)
	}
	for n := page; n <= page+more; n++ {
		if p.seen[n] {
			return nil, p.damaged(n)
		}
		p.seen[n] = true
	}
	if more == 0 {
		return data, nil
	}
	data = append(data, make([]byte, int64(more)*p.size)...)
	_, err := p.f.ReadAt(data[p.size:], at+p.size)
	return data, err
}

// boltCount is how many elements a page holds.
func boltCount(page []byte) int { return int(binary.LittleEndian.Uint16(page[10:])) }

// boltChildren are the pages that a page refers to; not ok: it holds what no page holds.
func boltChildren(data []byte) (children []uint64, ok bool) {
	flags, count := binary.LittleEndian.Uint16(data[8:]), boltCount(data)
	if flags != boltBranch && flags != boltLeaf || boltHeader+boltElement*count > len(data) {
		return nil, false
	}
	behind := boltHeader // the first element's word for where its key begins: behind the last
	if flags == boltLeaf {
		behind += 4
	}
	if count > 0 && binary.LittleEndian.Uint32(data[behind:]) != uint32(boltElement*count) {
		return nil, false
	}
	for at := boltHeader; at < boltHeader+boltElement*count; at += boltElement {
		if flags == boltBranch {
			children = append(children, binary.LittleEndian.Uint64(data[at+8:]))
			continue
		}
		more, ok := boltBucket(data, at)
		if !ok {
			return nil, false
		}
		children = append(children, more...)
	}
	return children, true
}

// boltBucket are the pages that a leaf's element refers to: one where it is a bucket,
// none where that lies in the leaf itself.
func boltBucket(data []byte, at int) (children []uint64, ok bool) {
	field := func(i int) uint64 { return uint64(binary.LittleEndian.Uint32(data[at+4*i:])) }
	begin := uint64(at) + field(1) + field(2)
	end := begin + field(3)
	if end > uint64(len(data)) {
		return nil, false
	}
	value := data[begin:end]
	switch {
	case field(0)&boltIsBucket == 0:
		return nil, true
	case len(value) < boltBucketSize:
		return nil, false
	case binary.LittleEndian.Uint64(value) != 0:
		return []uint64{binary.LittleEndian.Uint64(value)}, true
	case len(value) < boltBucketSize+boltHeader:
		return nil, false
	}
	children, ok = boltChildren(value[boltBucketSize:])
	return nil, ok && len(children) == 0 && binary.LittleEndian.Uint16(value[boltBucketSize+8:]) == boltLeaf
}
