package fsm

import (
	"sync"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const (
	// aheadReaders read at a time: a disk answers as many together about as fast as one.
	aheadReaders = 8
	// aheadLeast rows that an entry read from the database make the next one read ahead.
	aheadLeast = 4
)

// wanted is a record that an access of the entry will ask for.
type wanted struct {
	head    []byte // its row
	value   bool   // also that of the version
	version uint64
}

// readAhead reads rows that the entry's accesses will ask for, several at a time, where
// the caches held too little for the entry before. What it reads decides nothing, and
// what it leaves out, or can't read, is read when it is asked for.
func (w *writer) readAhead(st *state, e *fsmpb.Entry, capture bool) {
	before := *w.cache.reads
	*w.cache.reads = 0
	if before < aheadLeast {
		return
	}
	all := w.wanted(st, e, capture)
	if len(all) < 2 {
		return
	}
	w.ahead = make(map[string][]byte, 2*len(all))
	var mu sync.Mutex
	var readers sync.WaitGroup
	for n := range min(aheadReaders, len(all)) {
		readers.Go(func() {
			for i := n; i < len(all); i += aheadReaders {
				w.fetch(all[i], func(full, row []byte) {
					mu.Lock()
					defer mu.Unlock()
					w.ahead[string(full)] = row
				})
			}
		})
	}
	readers.Wait()
}

// fetch reads a record's row, and its value's. Who panics here does so again where the
// row is asked for, and Apply's caller hears of it.
func (w *writer) fetch(r wanted, found func(full, row []byte)) {
	defer func() { _ = recover() }()
	row, err := w.raw(r.head)
	if err != nil {
		return
	}
	found(r.head, row)
	var head fsmpb.Head
	if !r.value || row == nil || decode(row, &head) != nil {
		return
	}
	of := record{key: r.head[1:], head: &head}
	if r.version == 0 {
		r.version = of.current()
	}
	full := fullKey(tableValue, of.valueKey(r.version))
	if value, err := w.raw(full); err == nil {
		found(full, value)
	}
}

// wanted are the records of the entry's gets and puts that the caches lack, each once.
func (w *writer) wanted(st *state, e *fsmpb.Entry, capture bool) (all []wanted) {
	known := map[string]bool{}
	for _, a := range e.GetAccesses() {
		in, path, get := w.asksFor(st, a)
		if path == "" || w.cache.records.has(in, path) {
			continue
		}
		r := wanted{head: fullKey(tableHead, w.opaque("record", in.text, path)), value: capture && get != nil, version: get.GetVersion()}
		if _, cached := lookUp(w.cache.rows, r.head); cached || known[string(r.head)] {
			continue
		}
		known[string(r.head)] = true
		all = append(all, r)
	}
	return all
}

// asksFor is the record that a put changes, or that a get probably finds: in the first
// of the caller's scopes in which anything is.
func (w *writer) asksFor(st *state, a *fsmpb.Access) (in placed, path string, get *fsmpb.Get) {
	who, err := st.callers.parse(a.GetCaller(), st.trustDomain)
	if err != nil {
		return placed{}, "", nil
	}
	scope := ""
	switch op := a.GetOp().(type) {
	case *fsmpb.Access_Put:
		path, scope = op.Put.GetPath(), op.Put.GetScope()
	case *fsmpb.Access_Get:
		get, path, scope = op.Get, op.Get.GetPath(), op.Get.GetScope()
	}
	if scope != "" {
		s, err := parseFullScope(scope, st.trustDomain)
		if err != nil || !mayWrite(who.Caller, s) && !MayRead(who.Caller, s) {
			return placed{}, "", nil
		}
		return placed{s, scope}, path, get
	}
	for _, in := range who.reads {
		if !w.cache.records.nothingIn(w, in) {
			return in, path, get
		}
	}
	return placed{}, "", nil
}
