package fsm

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

// requestTable is a database with requests alone, and the model of it.
type requestTable struct {
	t      *rapid.T
	keys   *seal.Keyring
	r      reader
	cache  *caches
	model  mapTx
	now    int64
	window int64
	index  uint64
}

func (q *requestTable) access(t tx) *access {
	return &access{t: t, st: &state{time: q.now}, limits: &fsmpb.Settings{RequestWindow: q.window}}
}

// remember does what a mutation does with its request.
func (q *requestTable) remember(t tx, key []byte) (found bool, m *fsmpb.Remembered) {
	x, m := q.access(t), &fsmpb.Remembered{}
	if t.recall(key, m) && q.now-m.GetTime() <= q.window {
		return true, m
	}
	m = &fsmpb.Remembered{Record: key, Time: q.now}
	x.keep(key, m, q.now+q.window)
	return false, m
}

func (q *requestTable) entry(keys [][]byte) {
	q.index++
	w, model := newWriter(q.r, q.keys, q.cache, 1), q.model.entry(q.keys)
	if err := q.cache.load(q.r, 1); err != nil {
		q.t.Fatal(err)
	}
	w.asked.index = q.index
	for range rapid.IntRange(1, 5).Draw(q.t, "accesses") {
		if rapid.IntRange(0, 2).Draw(q.t, "sweep") == 0 {
			op := &fsmpb.Sweep{Limit: rapid.Uint32Range(1, 4).Draw(q.t, "limit")}
			got, want := q.access(w).sweep(op), q.access(model).sweep(op)
			if got.GetSwept().GetMore() != want.GetSwept().GetMore() {
				q.t.Fatalf("there is more: %v, want %v", got, want)
			}
			continue
		}
		key := rapid.SampledFrom(keys).Draw(q.t, "key")
		got, m := q.remember(w, key)
		want, n := q.remember(model, key)
		if got != want || m.GetTime() != n.GetTime() || m.GetUntil() != n.GetUntil() {
			q.t.Fatalf("%x is remembered: %v, %v, want %v, %v", key, got, m, want, n)
		}
	}
	if err := w.commit(q.r.db.(*pebble.DB)); err != nil {
		q.t.Fatal(err)
	}
}

// compare holds everything that is remembered against the model.
func (q *requestTable) compare(keys [][]byte) {
	w := newWriter(q.r, q.keys, q.cache, 1)
	for _, key := range keys {
		var m, n fsmpb.Remembered
		got, want := w.recall(key, &m), q.model.recall(key, &n)
		if got != want || want && (m.GetTime() != n.GetTime() || m.GetUntil() != n.GetUntil()) {
			q.t.Fatalf("%x: %v %v, want %v %v", key, got, &m, want, &n)
		}
	}
}

// TestRequestTable draws requests, sweeps, windows and reopenings, with keys of which
// several begin alike, and holds what is remembered against a map. In the end all of it
// ends, and nothing is left, on disk or in memory.
func TestRequestTable(t *testing.T) {
	var keys [][]byte
	for i := range 6 {
		keys = append(keys, append(bytes.Repeat([]byte{byte(i % 2)}, 8), bytes.Repeat([]byte{byte(i)}, 24)...))
	}
	keyring, err := seal.NewKeyring(goldenCluster)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		db := openMemory(rt, vfs.NewMem())
		defer func() { _ = db.Close() }()
		q := &requestTable{t: rt, keys: keyring, r: reader{db, newCodec(keyring)}, cache: newCaches(newCopies("", nil)), model: mapTx{}, now: testStart}
		q.cache.records.briefs.whole = true
		for range rapid.IntRange(1, 30).Draw(rt, "entries") {
			q.now += int64(rapid.SampledFrom([]time.Duration{0, 0, 10 * time.Second, 50 * time.Second, 30 * time.Minute}).Draw(rt, "time"))
			q.window = int64(rapid.SampledFrom([]time.Duration{10 * time.Second, time.Minute, time.Hour}).Draw(rt, "window"))
			q.entry(keys)
			if rapid.IntRange(0, 4).Draw(rt, "reopened") == 0 {
				if q.cache.requests, err = openRequests(q.r, q.cache.requests.swept, q.index); err != nil {
					rt.Fatal(err)
				}
			}
			q.compare(keys)
		}
		q.empty()
	})
}

func (q *requestTable) empty() {
	for more := true; more; {
		q.now += int64(2 * time.Hour)
		q.index++
		if err := q.cache.load(q.r, 1); err != nil {
			q.t.Fatal(err)
		}
		w := newWriter(q.r, q.keys, q.cache, 1)
		more = q.access(w).sweep(&fsmpb.Sweep{Limit: 2}).GetSwept().GetMore()
		if err := w.commit(q.r.db.(*pebble.DB)); err != nil {
			q.t.Fatal(err)
		}
	}
	for _, left := range []table{tableDue, tableExpiry, tableRequest} {
		if none, err := q.r.empty(left); err != nil || !none {
			q.t.Fatalf("table %c is not empty: %v", left, err)
		}
	}
	if last := q.cache.requests.swept; last != nil && len(q.cache.requests.buckets) > 0 {
		if q.cache.requests.buckets[0] != bucketOf(momentOf(last)) || len(q.cache.requests.buckets) > 1 {
			q.t.Fatalf("buckets %v are left, the last due was in %d", q.cache.requests.buckets, bucketOf(momentOf(last)))
		}
	}
	reopened, err := openRequests(q.r, q.cache.requests.swept, q.index)
	if err != nil {
		q.t.Fatal(err)
	}
	for _, bucket := range reopened.buckets {
		if !slices.Contains(q.cache.requests.buckets, bucket) {
			q.t.Fatalf("the database has a bucket %d, beside %v", bucket, q.cache.requests.buckets)
		}
	}
	if f := q.cache.requests.filter; f.opened == 0 && f.known.held+len(f.twice) > 0 {
		q.t.Fatalf("the filter still knows %d requests", f.known.held+len(f.twice))
	}
}

// A request that a sweep forgot stays forgotten, also when requests are remembered for
// longer from then on, and in a store that was opened again.
func TestForgottenForGood(t *testing.T) {
	for _, reopened := range []bool{false, true} {
		t.Run(fmt.Sprint("reopened ", reopened), func(t *testing.T) {
			b := newCluster(t)
			window := func(value string) {
				b.one(operID, &fsmpb.Access{Op: &fsmpb.Access_SettingsSet{SettingsSet: &fsmpb.SettingsSet{Name: "request_window", Value: value}}}, ok)
			}
			window("10s")
			first := b.access(mainID, put("k", agentScope, "v"))
			b.want(b.do(first)[0], ok)
			b.now += int64(20 * time.Second)
			b.one(nodeID, sweep(), ok)
			window("1h")
			if reopened {
				b.reopen()
			}
			b.store.cache.requests.filter.full = true // it is looked for
			first.Seen = b.now
			b.want(b.do(first)[0], ok)
			b.want(b.do(first)[0], fsmpb.Outcome_OUTCOME_REPLAYED)
		})
	}
}

// TestRequestsOfFormat2: what a store of format 2 remembers is found where it is, and
// ended by sweeps.
func TestRequestsOfFormat2(t *testing.T) {
	const many = 60
	b := newCluster(t)
	first := make([]*fsmpb.Access, many)
	for i := range first {
		first[i] = b.access(mainID, put(fmt.Sprint("k", i), agentScope, "v"))
	}
	b.do(first...)
	b.toFormat2()
	dir := b.store.cfg.Dir
	if err := b.store.Close(); err != nil {
		t.Fatal(err)
	}
	b.open(dir)
	for i, a := range first {
		b.want(b.do(a)[0], fsmpb.Outcome_OUTCOME_REPLAYED)
		if i == many/2 {
			if err := b.store.Close(); err != nil {
				t.Fatal(err)
			}
			b.open(dir)
		}
	}
	b.one(mainID, put("new", agentScope, "v"), ok)
	b.one(operID, &fsmpb.Access{Op: &fsmpb.Access_SettingsSet{SettingsSet: &fsmpb.SettingsSet{Name: "request_window", Value: "20m"}}}, ok)
	b.now += 11 * int64(time.Minute)
	b.one(nodeID, sweep(), ok) // all are remembered for longer, and as this version does it
	for _, a := range first {
		a.Seen = b.now
		b.want(b.do(a)[0], fsmpb.Outcome_OUTCOME_REPLAYED)
	}
	b.now += 11 * int64(time.Minute)
	b.one(nodeID, sweep(), ok)
	r := reader{b.store.db, b.store.codec}
	for _, left := range []table{tableRequest, tableExpiry, tableDue} {
		if none, err := r.empty(left); err != nil || !none {
			t.Errorf("table %c is not empty: %v", left, err)
		}
	}
	if f := b.store.cache.requests.filter; !f.whole || f.known.held+len(f.twice) > 0 {
		t.Errorf("the filter knows %d, whole: %v", f.known.held, f.whole)
	}
}

// toFormat2 puts requests and their dues where format 2 had them.
func (b *bench) toFormat2() {
	b.t.Helper()
	s := b.store
	r := reader{s.db, s.codec}
	move := func(key, row []byte) error {
		sealed, err := s.codec.seal(key, row)
		if err != nil {
			return err
		}
		return s.db.Set(key, sealed, pebble.NoSync)
	}
	_, _, err1 := r.some(tableBucket, nil, 1<<20, func(it *pebble.Iterator) error {
		var m fsmpb.Remembered
		if err := openValue(r, it.Key(), it.ValueAndErr, &m); err != nil {
			return err
		}
		m.Until = 0
		row, err := deterministic.Marshal(&m)
		if err != nil {
			return err
		}
		return move(fullKey(tableRequest, it.Key()[5:]), row)
	})
	_, _, err2 := r.some(tableDue, nil, 1<<20, func(it *pebble.Iterator) error {
		dues, err := readDues(r, it)
		for _, d := range dues {
			row, err := deterministic.Marshal(&fsmpb.Expiry{Kind: fsmpb.Expiry_KIND_REQUEST, Key: d.request})
			if err != nil {
				return err
			}
			if err := move(fullKey(tableExpiry, d.key), row); err != nil {
				return err
			}
		}
		return err
	})
	for _, err := range []error{err1, err2} {
		if err != nil {
			b.t.Fatal(err)
		}
	}
	for _, newer := range []table{tableBucket, tableDue} {
		bounds := tableBounds(newer)
		if err := s.db.DeleteRange(bounds.LowerBound, bounds.UpperBound, pebble.NoSync); err != nil {
			b.t.Fatal(err)
		}
	}
	b.setFormat(2)
}
