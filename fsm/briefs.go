package fsm

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

const (
	briefSets    = 1 << 14
	briefSetMost = 96 // of a set: 1.5 million in all, of 88 bytes
	briefSetStep = 4  // by which a set grows
	briefLoad    = 2  // heads that are read for each access
)

// briefs hold, of more records than a cache of them could, what a glance at the
// current version needs, where that is nothing unusual: without it each get in a
// large store would read the head from the database, on every node. They lie in
// sets by their key, without pointers and few, for the collector's sake; the tags of a
// set, two bytes of each key, lie together, so that hardly another's brief is looked at.
// Only Apply uses them.
//
// Those of a store that opens are read bit by bit, with the entries that follow.
type briefs struct {
	sets   [briefSets][]brief
	tags   *[briefSets][briefSetMost]uint16
	next   int    // what a full set forgets
	from   []byte // where the reading goes on
	loaded int
	whole  bool
	bytes  int64 // of their values
	copies *copies
}

type brief struct {
	key       [16]byte // the first half of the record's
	requestID [16]byte
	digest    [32]byte
	createdAt int64
	version   uint32
	size      uint32
	copyAt    uint32 // see copyPlace
	copyUnits uint16
	provided  bool
}

func (b *brief) place() copyPlace     { return copyPlace{b.copyAt, b.copyUnits} }
func (b *brief) setPlace(p copyPlace) { b.copyAt, b.copyUnits = p.at, p.units }

func newBriefs(c *copies) *briefs {
	return &briefs{tags: &[briefSets][briefSetMost]uint16{}, copies: c}
}

func tagOf(key []byte) uint16 { return binary.LittleEndian.Uint16(key[2:]) }

// find is where a key's brief is in its set; -1: nowhere.
func (b *briefs) find(key []byte) (set uint16, at int) {
	set = binary.LittleEndian.Uint16(key) % briefSets
	held, tag := b.sets[set], tagOf(key)
	for i, t := range b.tags[set][:len(held)] {
		if t == tag && held[i].key == [16]byte(key) {
			return set, i
		}
	}
	return set, -1
}

func (b *briefs) put(set uint16, at int, one brief) {
	b.sets[set][at], b.tags[set][at] = one, tagOf(one.key[:])
}

func (b *briefs) remove(key []byte) {
	set, i := b.find(key)
	if i >= 0 {
		b.gone(&b.sets[set][i])
		last := len(b.sets[set]) - 1
		b.put(set, i, b.sets[set][last])
		b.sets[set] = b.sets[set][:last]
	}
}

// gone is for one that is about to be.
func (b *briefs) gone(one *brief) {
	b.bytes -= int64(one.size)
	b.copies.left(one.place())
}

// keep remembers a record as it stands, or forgets what it knew of it.
func (b *briefs) keep(r *record) {
	one, usual := briefly(r)
	if !usual {
		b.remove(r.key)
		return
	}
	set, i := b.find(r.key)
	switch held := b.sets[set]; {
	case i >= 0:
		if held[i].digest == one.digest {
			one.setPlace(held[i].place())
			held[i].setPlace(copyPlace{})
		}
		b.gone(&held[i])
	case len(held) < briefSetMost:
		if i = len(held); i == cap(held) {
			held = append(make([]brief, 0, min(i+briefSetStep, briefSetMost)), held...)
		}
		b.sets[set] = held[:i+1]
	default:
		b.next = (b.next + 1) % briefSetMost
		i = b.next
		b.gone(&held[i])
	}
	b.bytes += int64(one.size)
	b.put(set, i, one)
}

// load reads some more of the heads that the store held when it opened, a few for
// each access of the entry that comes.
func (b *briefs) load(r reader, accesses int) error {
	if b.whole {
		return nil
	}
	var err error
	b.from, b.whole, err = r.some(tableHead, b.from, briefLoad*accesses, func(it *pebble.Iterator) error {
		var h fsmpb.Head
		if err := openValue(r, it.Key(), it.ValueAndErr, &h); err != nil {
			return err
		}
		b.keep(&record{key: slices.Clone(it.Key()[1:]), head: &h})
		b.loaded++
		return nil
	})
	b.whole = b.whole || b.loaded >= briefSets*briefSetMost
	return err
}

// look is a glance at the current version, where it is remembered.
func (b *briefs) look(key []byte, in placed, path string) (*glance, bool) {
	set, i := b.find(key)
	if i < 0 {
		return nil, false
	}
	one := &b.sets[set][i]
	k := &struct { // one piece of memory for all of it
		glance    glance
		version   fsmpb.VersionMeta
		digest    [32]byte
		requestID [16]byte
	}{digest: one.digest, requestID: one.requestID}
	v, g := &k.version, &k.glance
	v.Version, v.CreatedAt, v.Size = uint64(one.version), one.createdAt, uint64(one.size)
	v.Digest, v.RequestId = k.digest[:], k.requestID[:]
	*g = glance{key: key, in: in, path: path, exists: true, version: v}
	if one.provided {
		g.head = &fsmpb.Head{ByProvisioner: true}
	}
	return g, true
}

// briefly is a record's brief, where one says all that a glance shows.
func briefly(r *record) (brief, bool) {
	h, v := r.head, r.version(0)
	if v == nil || v.GetDestroyed() || v.GetPending() || v.GetExpiresAt() != 0 || len(v.GetLabels()) != 0 ||
		h.GetDeletedAt() != 0 || h.GetPeriod() != 0 || h.GetDueAt() != 0 || h.GetOverdue() ||
		len(v.GetDigest()) != 32 || len(v.GetRequestId()) != 16 || v.GetSize() > seal.MaxValue || v.GetVersion() > math.MaxUint32 {
		return brief{}, false
	}
	return brief{
		key: [16]byte(r.key), requestID: [16]byte(v.GetRequestId()), digest: [32]byte(v.GetDigest()),
		createdAt: v.GetCreatedAt(), version: uint32(v.GetVersion()), size: uint32(v.GetSize()), provided: h.GetByProvisioner(),
	}, true
}

// copied is the row of a value, by its key, where that is current and was copied.
func (b *briefs) copied(value []byte) []byte {
	one := b.current(value)
	if one == nil || one.copyAt == 0 {
		return nil
	}
	row := b.copies.read(one.place(), one.digest[:])
	if row == nil {
		one.setPlace(copyPlace{}) // its file is another's now
	}
	return row
}

// copy is for a row that copied did not find, or that was written.
func (b *briefs) copy(value, row []byte) {
	if b.bytes < b.copies.from {
		return
	}
	if one := b.current(value); one != nil {
		b.copies.left(one.place())
		one.setPlace(b.copies.add(one.digest[:], row))
	}
}

// current is the brief whose value has that key.
func (b *briefs) current(value []byte) *brief {
	record, version := value[:recordKeySize], binary.BigEndian.Uint64(value[recordKeySize:])
	set, i := b.find(record)
	if i < 0 || uint64(b.sets[set][i].version) != version {
		return nil
	}
	return &b.sets[set][i]
}
