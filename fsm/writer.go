package fsm

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/seal"
)

// writer is the transaction of one entry: what it writes lies in memory until
// commit, and is read from there.
type writer struct {
	reader
	keys    *seal.Keyring
	cache   *caches
	pending map[string][]byte // nil: deleted
	order   []string          // of the first write of each key
	scratch []byte            // of the key that is looked up
	values  values
	asked   asked
	first   error

	foresees bool // an entry is about to ask for the same
}

// newWriter expects about so many rows.
func newWriter(r reader, keys *seal.Keyring, cache *caches, rows int) *writer {
	return &writer{reader: r, keys: keys, cache: cache, pending: make(map[string][]byte, rows), order: make([]string, 0, rows)}
}

// full is a row's key, until the next one is asked for.
func (w *writer) full(t table, key []byte) []byte {
	w.scratch = append(append(w.scratch[:0], byte(t)), key...)
	return w.scratch
}

func (w *writer) fail(err error) {
	if w.first == nil {
		w.first = err
	}
}

func (w *writer) err() error { return w.first }

func (w *writer) opaque(domain string, parts ...string) []byte {
	switch domain {
	case domainRequest, domainExpiry, domainRecord: // no other access needs it, or it is kept with what it names
		key := w.keys.Opaque(domain, parts...)
		return key[:]
	}
	key := w.cache.opaques.get(w.keys, domain, parts...)
	return key[:]
}

func (w *writer) get(t table, key []byte, m proto.Message) bool {
	full := w.full(t, key)
	plaintext, ok := w.pending[string(full)]
	if !ok {
		plaintext = w.committed(full)
	}
	if plaintext == nil {
		return false
	}
	if err := decode(plaintext, m); err != nil {
		w.fail(err)
		return false
	}
	return true
}

func (w *writer) value(record []byte, version uint64) (sealed, requestID []byte) {
	full := w.full(tableValue, valueKey(record, version))
	row, ok := w.pending[string(full)]
	if !ok {
		row = w.committed(full)
	}
	sealed, requestID, err := valueIn(row)
	if err != nil {
		w.fail(err)
	}
	return sealed, requestID
}

// valueIn decodes a fsmpb.Value in the row's own memory: a value is copied once less for
// each get.
func valueIn(row []byte) (sealed, requestID []byte, err error) {
	for len(row) > 0 {
		num, typ, n := protowire.ConsumeTag(row)
		if n < 0 {
			return nil, nil, errRow
		}
		row = row[n:]
		switch {
		case num == 1 && typ == protowire.BytesType:
			sealed, n = protowire.ConsumeBytes(row)
		case num == 2 && typ == protowire.BytesType:
			requestID, n = protowire.ConsumeBytes(row)
		default:
			n = protowire.ConsumeFieldValue(num, typ, row)
		}
		if n < 0 {
			return nil, nil, errRow
		}
		row = row[n:]
	}
	return sealed, requestID, nil
}

func (w *writer) committed(full []byte) []byte {
	if row, ok := lookUp(w.cache.rows, full); ok {
		return row
	}
	row, err := w.read(full)
	if err != nil {
		w.fail(err)
		return nil
	}
	w.cache.read(full, row)
	return row
}

// read returns an opened row of the database, nil where there is none.
func (w *writer) read(full []byte) ([]byte, error) {
	if table(full[0]) != tableValue {
		return w.raw(full)
	}
	briefs := w.cache.records.briefs
	if row := briefs.copied(full[1:]); row != nil {
		briefs.copies.reads.Add(1)
		return row, nil
	}
	briefs.copies.other.Add(1)
	row, err := w.values.raw(w.reader, full)
	if row != nil {
		briefs.copy(full[1:], row)
	}
	return row, err
}

func (w *writer) set(t table, key []byte, m proto.Message) {
	plaintext, err := deterministic.MarshalAppend([]byte{}, m)
	if err != nil {
		w.fail(fmt.Errorf("%w: a row does not encode", ErrCorrupt))
		return
	}
	w.put(w.full(t, key), plaintext)
	w.cache.records.changed(t)
}

// del deletes a row; heads are never deleted.
func (w *writer) del(t table, key []byte) {
	w.put(w.full(t, key), nil)
	w.cache.records.changed(t)
}

func (w *writer) look(in placed, path string) *record {
	return w.cache.records.look(w, in, path)
}

func (w *writer) glance(in placed, path string) *glance {
	return w.cache.records.glance(w, in, path, w.foresees)
}

func (w *writer) take(in placed, path string) *record {
	return w.cache.records.take(w, in, path)
}

func (w *writer) save(r *record) {
	w.put(w.full(tableHead, r.key), appendHead(nil, r.head))
	w.cache.records.keep(r)
}

// touched is what this entry wrote; nil: it deleted that.
func (w *writer) touched(t table, key []byte) (row []byte, ok bool) {
	row, ok = w.pending[string(w.full(t, key))]
	return row, ok
}

func (w *writer) put(full, plaintext []byte) {
	k, n := string(full), len(w.pending)
	if w.pending[k] = plaintext; len(w.pending) > n {
		w.order = append(w.order, k)
	}
}

// commit writes everything in one batch. It is not synced: the raft log is.
func (w *writer) commit(db *pebble.DB) error {
	if w.first != nil {
		return w.first
	}
	sealer, err := w.keys.RowSealer(w.cache.sealer)
	if err != nil {
		return err
	}
	w.cache.sealer = sealer
	batch := db.NewBatch()
	defer func() { _ = batch.Close() }()
	slices.Sort(w.order) // neighbours are found faster
	for _, k := range w.order {
		row := w.pending[k]
		if table(k[0]) == tableRequest { // stageRequests writes it: here goes what it takes the place of
			if k, row = w.asked.places[k], nil; k == "" {
				continue
			}
		}
		if err := w.stage(batch, sealer, k, row); err != nil {
			return err
		}
	}
	if err := w.stageRequests(batch, sealer); err != nil {
		return err
	}
	if err := db.Apply(batch, pebble.NoSync); err != nil {
		return fmt.Errorf("write store: %w", err)
	}
	w.noteRequests()
	for _, k := range w.order {
		switch table(k[0]) {
		case tableRequest:
			w.cache.requests.replaced(w.asked.places[k])
			continue
		case tableExpiry:
			if w.pending[k] != nil {
				w.cache.due.wrote(momentOf([]byte(k[1:9])))
			}
		case tableValue:
			if row := w.pending[k]; row != nil {
				w.cache.records.briefs.copy([]byte(k[1:]), row)
			}
		}
		if row := w.pending[k]; len(row) <= cachedSize && cacheable(table(k[0])) {
			w.cache.rows.add(k, row)
		} else {
			w.cache.rows.remove(k)
		}
	}
	w.cache.records.briefs.copies.flush()
	return nil
}

// stage seals a row into the batch's own memory.
func (w *writer) stage(batch *pebble.Batch, sealer *seal.RowSealer, key string, plaintext []byte) error {
	if plaintext == nil {
		return batch.Delete([]byte(key), nil)
	}
	op := batch.SetDeferred(len(key), sealer.Size(len(plaintext)))
	copy(op.Key, key)
	if err := sealer.Seal(op.Value, w.codec.ad(op.Key), plaintext); err != nil {
		return fmt.Errorf("seal row: %w", err)
	}
	return op.Finish()
}

var _ tx = (*writer)(nil)

// equalRoot compares hashes; they are not secret.
func equalRoot(a [32]byte, b []byte) bool { return bytes.Equal(a[:], b) }
