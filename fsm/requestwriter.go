package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

// asked is what an entry does with requests and with what is due.
type asked struct {
	index  uint64            // of the entry
	places map[string]string // of the rows that were read, by what they have in a transaction
	queued []due             // of the requests that are remembered
	ended  []due             // of requests
	last   []byte            // due that was ended, of any kind
	read   []dueBlock
}

// swept is the last due that was ended, by this entry or one before it.
func (w *writer) swept() []byte {
	if w.asked.last != nil {
		return w.asked.last
	}
	return w.cache.requests.swept
}

func (w *writer) recall(key []byte, m *fsmpb.Remembered) bool {
	row, ok := w.touched(tableRequest, key)
	if !ok {
		var place []byte
		var err error
		if row, place, err = w.cache.requests.find(w.reader, key); err != nil {
			w.fail(err)
		} else if row != nil {
			if w.asked.places == nil {
				w.asked.places = map[string]string{}
			}
			w.asked.places[string(w.full(tableRequest, key))] = string(place)
		}
	}
	if row == nil {
		return false
	}
	if err := decode(row, m); err != nil {
		w.fail(err)
		return false
	}
	if until := m.GetUntil(); until != 0 && notAfter(requestDue(w, key, until), w.swept()) {
		return false
	}
	return true
}

func (w *writer) remember(key []byte, m *fsmpb.Remembered, at []byte) {
	w.set(tableRequest, key, m)
	w.asked.queued = append(w.asked.queued, due{key: at, request: key, since: m.GetTime()})
}

// forget: with its due, a row that was written once has ended.
func (w *writer) forget(d due) {
	if d.since == 0 {
		w.del(tableRequest, d.request)
	}
}

// due takes it as certain when a request was remembered where that happened once.
func (w *writer) due(by int64, most int) (dues []due, more bool) {
	q, err := openDues(w.reader, w.cache.due.from())
	if err != nil {
		w.fail(err)
		return nil, false
	}
	at, ok := q.moment()
	if ok {
		w.cache.due.found(at)
	}
	for ; ok && at <= by && !more && err == nil; at, ok = q.moment() {
		var all []due
		all, err = q.take()
		for _, d := range all {
			if w.hasEnded(d) {
				continue
			}
			if more = len(dues) == most; more {
				break
			}
			if d.request != nil && !w.once(d.request) {
				d.since = 0
			}
			dues = append(dues, d)
		}
	}
	w.asked.read = append(w.asked.read, q.read...)
	if err := errors.Join(err, q.close()); err != nil {
		w.fail(err)
	}
	return dues, more
}

// once: the request was remembered once, before this entry, and not since.
func (w *writer) once(key []byte) bool {
	_, touched := w.touched(tableRequest, key)
	return !touched && w.cache.requests.filter.once(key)
}

// hasEnded: before, or by this entry.
func (w *writer) hasEnded(d due) bool {
	if d.request != nil {
		return notAfter(d.key, w.swept())
	}
	row, touched := w.touched(tableExpiry, d.key)
	return touched && row == nil
}

func (w *writer) ended(d due) {
	if d.request == nil {
		w.del(tableExpiry, d.key)
	} else {
		w.asked.ended = append(w.asked.ended, d)
	}
	w.asked.last = d.key
}

// stageRequests writes what is remembered now, and its dues; and deletes what is behind
// the sweeps.
func (w *writer) stageRequests(batch *pebble.Batch, sealer *seal.RowSealer) error {
	a := &w.asked
	slices.SortFunc(a.queued, func(x, y due) int { return bytes.Compare(x.request, y.request) })
	for _, d := range a.queued {
		until := momentOf(d.key)
		row, _ := w.touched(tableRequest, d.request)
		if err := w.stage(batch, sealer, string(append(bucketKey(bucketOf(until)), d.request...)), row); err != nil {
			return err
		}
		w.cache.requests.wrote(until)
	}
	slices.SortFunc(a.queued, func(x, y due) int { return bytes.Compare(x.key, y.key) })
	if err := dueBlocks(a.queued, a.index, func(key []byte, block *fsmpb.RequestDues) error {
		plaintext, err := deterministic.Marshal(block)
		if err != nil {
			return err
		}
		return w.stage(batch, sealer, string(key), plaintext)
	}); err != nil {
		return err
	}
	return w.stageEnded(batch)
}

func (w *writer) stageEnded(batch *pebble.Batch) error {
	if w.asked.last == nil {
		return nil
	}
	for _, block := range w.asked.read {
		if notAfter(block.last, w.asked.last) {
			if err := batch.Delete(block.key, nil); err != nil {
				return fmt.Errorf("write store: %w", err)
			}
		}
	}
	if err := w.cache.requests.drop(batch, w.asked.last); err != nil {
		return fmt.Errorf("write store: %w", err)
	}
	return nil
}

// noteRequests tells the caches what was written.
func (w *writer) noteRequests() {
	a, q := &w.asked, w.cache.requests
	for _, d := range a.ended {
		for range 1 + d.more {
			q.filter.remove(d.request)
		}
	}
	for _, d := range a.queued {
		q.filter.add(d.request)
		w.cache.due.wrote(momentOf(d.key))
	}
	q.swept = w.swept()
}
