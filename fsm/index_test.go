package fsm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

// indexed is an index in a database of its own, and what it should hold.
type indexed struct {
	keys *seal.Keyring
	fs   *vfs.MemFS
	db   *pebble.DB
	r    reader
	x    *index
	rows []audit.Row
}

func newIndexed(t rapid.TB, s shape) *indexed {
	keys, err := seal.NewKeyring(goldenCluster)
	if err != nil {
		t.Fatal(err)
	}
	d := &indexed{keys: keys, fs: vfs.NewCrashableMem(), x: newIndex(s)}
	d.open(t)
	return d
}

func (d *indexed) open(t rapid.TB) {
	d.db = openMemory(t, d.fs)
	d.r = reader{d.db, newCodec(d.keys)}
}

// entry adds rows as Apply does.
func (d *indexed) entry(t rapid.TB, rows []audit.Row) {
	w := newWriter(d.r, d.keys, newCaches(newCopies("", nil)), 0)
	if err := d.x.work(w, len(rows)); err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		rows[i].Index = uint64(len(d.rows))
		d.rows = append(d.rows, rows[i])
		d.x.add(w, &rows[i])
	}
	w.set(tableMeta, nil, &fsmpb.Meta{Size: uint64(len(d.rows))})
	if err := w.commit(d.db); err != nil {
		t.Fatal(err)
	}
}

// crash loses what was not flushed.
func (d *indexed) crash(t rapid.TB) {
	left := d.fs.CrashClone(vfs.CrashCloneCfg{})
	if err := d.db.Close(); err != nil {
		t.Fatal(err)
	}
	d.fs = left
	d.open(t)
	var meta fsmpb.Meta
	if _, err := d.r.get(tableMeta, nil, &meta); err != nil {
		t.Fatal(err)
	}
	d.rows = d.rows[:meta.GetSize()]
	d.reopen(t)
}

// reopen goes on from what is in the database.
func (d *indexed) reopen(t rapid.TB) {
	x, err := openIndex(d.r, d.x.shape)
	if err != nil {
		t.Fatal(err)
	}
	w := newWriter(d.r, d.keys, newCaches(newCopies("", nil)), 0)
	for i := x.covered(); i < uint64(len(d.rows)); i++ {
		x.add(w, &d.rows[i])
	}
	if len(w.order) > 0 {
		t.Fatal("rows were written that runs hold")
	}
	d.x = x
}

func (d *indexed) find(t rapid.TB, kind, text string, from, to uint64) (found []uint64) {
	rs, err := readRuns(d.r)
	if err != nil {
		t.Fatal(err)
	}
	defer rs.close()
	key := postingKey(d.keys.Opaque(domainPosting, kind, text))
	for _, p := range d.x.parts() {
		if _, err := p.find(context.Background(), rs, key, from, to, func(row uint64) (bool, error) {
			found = append(found, row)
			return true, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range d.x.unwritten(key) {
		if row >= from && row < to {
			found = append(found, row)
		}
	}
	return found
}

func (d *indexed) want(kind, text string, from, to uint64) (want []uint64) {
	for i := from; i < min(to, uint64(len(d.rows))); i++ {
		if row := d.rows[i]; kind == postedCaller && row.Caller == text || kind == postedPath && row.Path == text {
			want = append(want, i)
		}
	}
	return want
}

// The index finds what a search through all rows finds, whatever the entries, at any
// point of merges, after it was opened again and after crashes; and merges keep up.
func TestIndex(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := shape{base: 4, fan: rapid.Uint64Range(2, 4).Draw(rt, "fan"), block: rapid.IntRange(1, 5).Draw(rt, "block"), pace: 4}
		d := newIndexed(rt, s)
		defer func() { _ = d.db.Close() }()
		callers, paths := rapid.IntRange(1, 3).Draw(rt, "callers"), rapid.IntRange(1, 40).Draw(rt, "paths")
		for range rapid.IntRange(1, 150).Draw(rt, "entries") {
			rows := make([]audit.Row, rapid.IntRange(1, 4).Draw(rt, "rows"))
			for i := range rows {
				rows[i].Caller = fmt.Sprint("c", rapid.IntRange(1, callers).Draw(rt, "caller"))
				if p := rapid.IntRange(0, paths).Draw(rt, "path"); p > 0 {
					rows[i].Path = fmt.Sprint("p", p)
				}
			}
			d.entry(rt, rows)
			switch rapid.IntRange(0, 19).Draw(rt, "event") {
			case 0:
				d.reopen(rt)
			case 1:
				if err := d.db.Flush(); err != nil {
					rt.Fatal(err)
				}
			case 2:
				d.crash(rt)
			}
			from := rapid.Uint64Range(0, uint64(len(d.rows))).Draw(rt, "from")
			to := rapid.Uint64Range(from, uint64(len(d.rows))+1).Draw(rt, "to")
			for _, q := range [][2]string{
				{postedCaller, fmt.Sprint("c", rapid.IntRange(1, callers).Draw(rt, "asked"))},
				{postedPath, fmt.Sprint("p", rapid.IntRange(1, paths+1).Draw(rt, "asked"))},
			} {
				if got, want := d.find(rt, q[0], q[1], from, to), d.want(q[0], q[1], from, to); !slices.Equal(got, want) {
					rt.Fatalf("%v in %d to %d: %v, want %v; tiers %v", q, from, to, got, want, d.x.tiers)
				}
			}
		}
		for tier, runs := range d.x.tiers {
			if runs > 2*s.fan+2 {
				rt.Fatalf("tier %d of %v: its merges have fallen behind", tier, d.x.tiers)
			}
		}
		d.emptyOfOthers(rt)
	})
}

// emptyOfOthers: no block is left but those of runs, and each posting once.
func (d *indexed) emptyOfOthers(t rapid.TB) {
	rs, err := readRuns(d.r)
	if err != nil {
		t.Fatal(err)
	}
	defer rs.close()
	known := map[run]part{}
	for _, p := range d.x.parts() {
		known[p.run] = p
	}
	postings := 0
	for ok := rs.it.First(); ok; ok = rs.it.Next() {
		at := 0
		for n, p := range known {
			if rs.in(n) {
				ps, err := rs.block(n)
				if err != nil {
					t.Fatal(err)
				}
				if at = 1; p.after != nil {
					ps = slices.DeleteFunc(ps, func(q posting) bool { return q.compare(*p.after) <= 0 })
				}
				postings += len(ps)
			}
		}
		if at == 0 {
			t.Fatalf("a block of no run is left; tiers %v", d.x.tiers)
		}
	}
	want := 0
	for _, row := range d.rows[:d.x.covered()] {
		if want++; row.Path != "" {
			want++
		}
	}
	if postings != want {
		t.Fatalf("%d postings, want %d", postings, want)
	}
}

// Blocks of postings decode to what they were made of, and nothing else decodes.
func FuzzPostings(f *testing.F) {
	for _, ps := range [][]posting{{{1, 9}}, {{1, 9}, {1, 12}, {2, 8}}, {{1 << 63, 7}, {1<<64 - 1, 1 << 62}}} {
		data, _ := deterministic.Marshal(packPostings(7, ps))
		f.Add(uint64(7), data)
	}
	f.Fuzz(func(t *testing.T, first uint64, data []byte) {
		var m fsmpb.Postings
		if decode(data, &m) != nil {
			return
		}
		ps, err := unpackPostings(first, &m)
		if err != nil {
			return
		}
		if !slices.IsSortedFunc(ps, posting.compare) {
			t.Fatal("postings are out of order")
		}
		m.ProtoReflect().SetUnknown(nil)
		if !proto.Equal(packPostings(first, ps), &m) {
			t.Fatal("postings encode to something else")
		}
	})
}

// A store of format 1 has other postings and no index: it is made when it opens, and
// what was there goes.
func TestIndexOfFormat1(t *testing.T) {
	b := newCluster(t)
	b.fill(5000)
	s := b.store
	old, err := os.ReadFile(filepath.Join("testdata", "row_1_posting.golden"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.db.Set(append([]byte{byte(tablePosting)}, make([]byte, 40)...), old, pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	for _, newer := range []table{tableIndex, tableRun} {
		bounds := tableBounds(newer)
		if err := s.db.DeleteRange(bounds.LowerBound, bounds.UpperBound, pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	b.setFormat(1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b.open(s.cfg.Dir)
	it, err := b.store.db.NewIter(tableBounds(tablePosting))
	if err != nil {
		t.Fatal(err)
	}
	if it.First() {
		t.Error("the old postings are still there")
	}
	_ = it.Close()
	all, err := b.store.Rows(t.Context(), 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []RowQuery{{Caller: mainID}, {Path: "k/3"}, {Caller: researID, Path: "k/7", From: 4000}} {
		q.Size, q.Limit, q.ScanMax = b.store.AuditSize(), 1<<20, 1<<20
		compareQuery(t, b.store, q, all)
	}
	if b.store.st.format != 1 || b.store.chain.index.covered() != 4096 {
		t.Fatal("the index was not made anew")
	}
	if err := b.store.Close(); err != nil {
		t.Fatal(err)
	}
	if b.open(s.cfg.Dir); b.store.st.format != storeFormat {
		t.Fatal("the store does not say what it is now")
	}

	b.setFormat(storeFormat + 1)
	if err := b.store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Dir: s.cfg.Dir, Keys: b.keys}); !errors.Is(err, ErrUnknownFormat) {
		t.Fatalf("a store of a newer version: %v", err)
	}
}

// setFormat makes the store say that it is of another format.
func (b *bench) setFormat(format uint32) {
	b.t.Helper()
	s := b.store
	w := newWriter(reader{s.db, s.codec}, s.codec.keys, s.cache, 1)
	var meta fsmpb.Meta
	if !w.get(tableMeta, nil, &meta) {
		b.t.Fatal("no meta row")
	}
	meta.Format = format
	w.set(tableMeta, nil, &meta)
	if err := w.commit(s.db); err != nil {
		b.t.Fatal(err)
	}
}
