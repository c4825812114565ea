package fsm

import (
	"crypto/sha256"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
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

func (m mapTx) value(record []byte, version uint64) []byte {
	var v fsmpb.Value
	m.get(tableValue, valueKey(record, version), &v)
	return v.GetSealed()
}

func (m mapTx) set(t table, key []byte, row proto.Message) {
	data, err := deterministic.Marshal(row)
	if err != nil {
		panic(err)
	}
	m[string(fullKey(t, key))] = data
}

func (m mapTx) del(t table, key []byte) { delete(m, string(fullKey(t, key))) }

func (m mapTx) expiries(fn func(key []byte) bool) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if table(k[0]) == tableExpiry && !fn([]byte(k[1:])) {
			return
		}
	}
}

func (m mapTx) opaque(domain string, parts ...string) []byte {
	sum := sha256.Sum256([]byte(domain + "\x00" + strings.Join(parts, "\x00")))
	return sum[:]
}

func (m mapTx) err() error { return nil }

var _ tx = mapTx(nil)

// modelEntry is the model's transaction of one entry: a sweep ends what was there
// before the entry.
type modelEntry struct {
	mapTx
	before map[string]bool
}

func (m mapTx) entry() modelEntry {
	e := modelEntry{m, map[string]bool{}}
	m.expiries(func(key []byte) bool {
		e.before[string(key)] = true
		return true
	})
	return e
}

func (m modelEntry) expiries(fn func(key []byte) bool) {
	m.mapTx.expiries(func(key []byte) bool { return !m.before[string(key)] || fn(key) })
}
