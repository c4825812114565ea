package fsm

import (
	"cmp"
	"encoding/binary"
	"fmt"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

// posting says that an audit row is of a caller, or about a path: key is of either.
// Two may share a key; who reads the row sees which one it is.
type posting struct{ key, row uint64 }

func (p posting) compare(q posting) int {
	if p.key != q.key {
		return cmp.Compare(p.key, q.key)
	}
	return cmp.Compare(p.row, q.row)
}

// What has postings: callers and paths.
const (
	domainPosting = "posting"
	postedCaller  = "caller"
	postedPath    = "path"
)

// postingKey is eight bytes of an opaque key.
func postingKey(opaque [32]byte) uint64 { return binary.BigEndian.Uint64(opaque[:]) }

// postedKeys remembers the posting keys of one kind. Not safe for concurrent use.
type postedKeys struct {
	kind  string
	known *generations[string, uint64]
}

func newPostedKeys(kind string) *postedKeys {
	return &postedKeys{kind, newGenerations[string, uint64](opaqueGeneration, nil)}
}

func (p *postedKeys) get(keys *seal.Keyring, text string) uint64 {
	key, ok := p.known.get(text)
	if !ok {
		key = postingKey(keys.Opaque(domainPosting, p.kind, text))
		p.known.offer(key, text, key)
	}
	return key
}

// packPostings encodes ascending postings of a run that begins with the row first.
func packPostings(first uint64, ps []posting) *fsmpb.Postings {
	m := &fsmpb.Postings{Keys: make([]uint64, len(ps)), Rows: make([]uint64, len(ps))}
	last := posting{row: first}
	for i, p := range ps {
		if p.key != last.key {
			last.row = first
		}
		m.Keys[i], m.Rows[i] = p.key-last.key, p.row-last.row
		last = p
	}
	return m
}

// unpackPostings refuses what packPostings does not make.
func unpackPostings(first uint64, m *fsmpb.Postings) ([]posting, error) {
	if len(m.GetKeys()) == 0 || len(m.GetKeys()) != len(m.GetRows()) {
		return nil, fmt.Errorf("%w: a block of postings has columns of different lengths", ErrCorrupt)
	}
	ps := make([]posting, len(m.GetKeys()))
	last := posting{row: first}
	for i, step := range m.GetKeys() {
		if step != 0 {
			last.row = first
		}
		ps[i] = posting{last.key + step, last.row + m.GetRows()[i]}
		if ps[i].row < last.row || i > 0 && ps[i].compare(last) <= 0 {
			return nil, fmt.Errorf("%w: a block of postings is not in order", ErrCorrupt)
		}
		last = ps[i]
	}
	return ps, nil
}
