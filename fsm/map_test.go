package fsm

import (
	"crypto/sha256"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

// mapTx is the transaction with a map behind it: what an operation sees of a
// store, without one.
type mapTx map[string][]byte

func (m mapTx) get(t table, key []byte, into proto.Message) bool {
	row, ok := m[string(fullKey(t, key))]
	if ok && proto.Unmarshal(row, into) != nil {
		panic("a row of the model does not decode")
	}
	return ok
}

func (m mapTx) look(in placed, path string) *record   { return readRecord(m, in, path) }
func (m mapTx) glance(in placed, path string) *glance { return readRecord(m, in, path).at(0) }
func (m mapTx) take(in placed, path string) *record   { return readRecord(m, in, path) }
func (m mapTx) save(r *record)                        { m.set(tableHead, r.key, r.head) }

func (m mapTx) value(record []byte, version uint64) (sealed, requestID []byte) {
	var v fsmpb.Value
	m.get(tableValue, valueKey(record, version), &v)
	return v.GetSealed(), v.GetRequestId()
}

func (m mapTx) set(t table, key []byte, row proto.Message) {
	data, err := deterministic.Marshal(row)
	if err != nil {
		panic(err)
	}
	m[string(fullKey(t, key))] = data
}

func (m mapTx) del(t table, key []byte) { delete(m, string(fullKey(t, key))) }

func (m mapTx) recall(key []byte, r *fsmpb.Remembered) bool { return m.get(tableRequest, key, r) }

func (m mapTx) remember(key []byte, r *fsmpb.Remembered, due []byte) {
	m.set(tableRequest, key, r)
	m.set(tableExpiry, due, &fsmpb.Expiry{Kind: fsmpb.Expiry_KIND_REQUEST, Key: key})
}

func (m mapTx) forget(d due) { m.del(tableRequest, d.request) }
func (m mapTx) ended(d due)  { m.del(tableExpiry, d.key) }

func (m mapTx) due(by int64, most int) (dues []due, more bool) {
	for _, key := range m.expiries() {
		switch {
		case momentOf(key) > by:
			return dues, false
		case len(dues) == most:
			return dues, true
		}
		dues = append(dues, due{key: key})
	}
	return dues, false
}

func (m mapTx) expiries() (keys [][]byte) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if table(k[0]) == tableExpiry {
			keys = append(keys, []byte(k[1:]))
		}
	}
	return keys
}

func (m mapTx) opaque(domain string, parts ...string) []byte {
	sum := sha256.Sum256([]byte(domain + "\x00" + strings.Join(parts, "\x00")))
	return sum[:]
}

func (m mapTx) err() error { return nil }

var _ tx = mapTx(nil)

// modelEntry is the model's transaction of one entry: a sweep ends what was there
// before the entry. Its keys are the stores', so that what ends at the same moment has
// their order.
type modelEntry struct {
	mapTx
	before map[string]bool
	keys   *seal.Keyring
}

func (m mapTx) entry(keys *seal.Keyring) modelEntry {
	e := modelEntry{m, map[string]bool{}, keys}
	for _, key := range m.expiries() {
		e.before[string(key)] = true
	}
	return e
}

func (m modelEntry) due(by int64, most int) (dues []due, more bool) {
	all, _ := m.mapTx.due(by, len(m.mapTx))
	for _, d := range all {
		if !m.before[string(d.key)] {
			continue
		}
		if len(dues) == most {
			return dues, true
		}
		dues = append(dues, d)
	}
	return dues, false
}

func (m modelEntry) opaque(domain string, parts ...string) []byte {
	key := m.keys.Opaque(domain, parts...)
	return key[:]
}
