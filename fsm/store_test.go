package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

// fill makes a store with n rows beside the bootstrap's.
func (b *bench) fill(n int) {
	b.t.Helper()
	callers := []string{mainID, researID, otherID}
	for i := 0; i < n; {
		var accesses []*fsmpb.Access
		for range min(1+rand.IntN(40), n-i) {
			path := fmt.Sprintf("k/%d", rand.IntN(20))
			caller := callers[rand.IntN(len(callers))]
			a := get(path, "", 0)
			if rand.IntN(3) == 0 {
				a = put(path, "spiffe://hexr.cloud/agent/acme/bot/*", "v")
			}
			accesses = append(accesses, b.access(caller, a))
			i++
		}
		b.do(accesses...)
	}
}

// TestQueries compares queries with a search through all rows, over runs of
// postings and what fills one, and after the store was opened again.
func TestQueries(t *testing.T) {
	b := newCluster(t)
	b.fill(int(2*indexShape().base) + 300)
	dir := b.store.cfg.Dir
	for _, reopen := range []bool{false, true} {
		if reopen {
			if err := b.store.Close(); err != nil {
				t.Fatal(err)
			}
			b.open(dir)
		}
		all, err := b.store.Rows(t.Context(), 0, 1<<20)
		if err != nil || uint64(len(all)) != b.store.AuditSize() {
			t.Fatalf("%d rows, %v", len(all), err)
		}
		for range 200 {
			q := RowQuery{Size: b.store.AuditSize(), Limit: 1 + rand.IntN(50), ScanMax: 100 + rand.IntN(4000), From: uint64(rand.IntN(8500))}
			if rand.IntN(2) == 0 {
				q.Caller = []string{mainID, researID, "spiffe://hexr.cloud/agent/acme/nobody/main"}[rand.IntN(3)]
			}
			if rand.IntN(2) == 0 {
				q.Path = fmt.Sprintf("k/%d", rand.IntN(21))
			}
			if rand.IntN(3) == 0 {
				q.Outcome = audit.Denied
			}
			if rand.IntN(3) == 0 {
				q.Since = testStart + int64(rand.IntN(int(b.now-testStart)))
			}
			if rand.IntN(3) == 0 {
				q.Until = testStart + int64(rand.IntN(int(b.now-testStart)))
			}
			compareQuery(t, b.store, q, all)
		}
	}
}

func compareQuery(t *testing.T, s *Store, q RowQuery, all [][]byte) {
	t.Helper()
	var want [][]byte
	for i := q.From; i < uint64(len(all)); i++ {
		row, err := audit.DecodeRow(all[i])
		if err != nil {
			t.Fatal(err)
		}
		if q.selects(&row) && row.Time >= q.Since && (q.Until == 0 || row.Time < q.Until) {
			want = append(want, all[i])
		}
	}
	var got [][]byte
	for range 10_000 {
		page, err := s.QueryRows(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page.Rows...)
		if q.From = page.Next; page.Done {
			break
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%+v: %d rows, want %d", q, len(got), len(want))
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("%+v: row %d differs", q, i)
		}
	}
}

func TestListPages(t *testing.T) {
	b := newCluster(t)
	var want []string
	for i := range 500 {
		path := fmt.Sprintf("p/%03d", (i*317)%500)
		b.one(mainID, put(path, agentScope, "v"), ok)
		want = append(want, fmt.Sprintf("p/%03d of %s", i, agentScope))
	}
	b.one(provID, put("other", tenantScope, "v"), ok)
	b.one(provID, put("p/shared", tenantScope, "v"), ok)
	want = append(want, "p/shared of "+tenantScope)
	for _, limit := range []int{1, 7, 128, 1000} {
		var got []string
		after := ""
		for {
			page, err := b.store.List(t.Context(), ListQuery{Scopes: []string{researScope, agentScope, tenantScope}, Prefix: "p/", After: after, Limit: limit})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range page.Secrets {
				got = append(got, s.GetPath()+" of "+s.GetScope())
			}
			if after = page.Next; after == "" {
				break
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("limit %d: %d secrets, or others than were put", limit, len(got))
		}
	}
	for i := range 500 {
		b.one(mainID, destroy(fmt.Sprintf("p/%03d", i), agentScope, 0), ok)
	}
	page, err := b.store.List(t.Context(), ListQuery{Scopes: []string{agentScope}, Limit: 10, IncludeDeleted: true})
	if err != nil || len(page.Secrets) != 0 {
		t.Fatal("destroyed secrets are listed", err)
	}
}

// TestCrashLeavesAPrefix kills the store without a flush, at many points: what is
// there again is the state after some earlier entry, and replaying the rest
// gives the same root.
func TestCrashLeavesAPrefix(t *testing.T) {
	b := newBench(t)
	b.n = 0
	log := [][]byte{bootEntry(b)}
	for range 60 {
		b.now++
		log = append(log, b.entry(b.access(mainID, put("k", agentScope, "v")), b.access(mainID, get("k", "", 0))))
	}
	dir := t.TempDir()
	for i, data := range log {
		if _, err := b.store.Apply(uint64(i+1), 1, data, false); err != nil {
			t.Fatal(err)
		}
		if i == 20 || i == 40 {
			if err := b.store.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	// A copy of the files of a store that runs is what a crash leaves.
	if err := os.CopyFS(dir, os.DirFS(b.store.cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	crashed, err := Open(t.Context(), Config{Dir: dir, Keys: b.keys})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = crashed.Close() }()
	at := crashed.AppliedIndex()
	if at == 0 || at >= uint64(len(log)) {
		t.Fatalf("the crashed store is at %d of %d", at, len(log))
	}
	for i, data := range log {
		results, err := crashed.Apply(uint64(i+1), 1, data, false)
		if err != nil {
			t.Fatal(err)
		}
		if skipped := results == nil; skipped != (uint64(i+1) <= at) {
			t.Fatalf("entry %d, store at %d: skipped %t", i+1, at, skipped)
		}
	}
	want, err1 := b.store.Root(b.store.AuditSize())
	got, err2 := crashed.Root(crashed.AuditSize())
	if want != got || err1 != nil || err2 != nil {
		t.Fatal("the replayed store has another root", err1, err2)
	}
}

func TestSealedRowsAreBoundToTheirPlace(t *testing.T) {
	b := newCluster(t)
	b.one(mainID, put("a", agentScope, "first"), ok)
	b.one(mainID, put("b", agentScope, "second"), ok)
	scope, err := parseFullScope(agentScope, td)
	if err != nil {
		t.Fatal(err)
	}
	row := func(path string) []byte {
		key := RecordKey(b.keys, scope, Path(path))
		return fullKey(tableHead, key[:])
	}
	dir := b.store.cfg.Dir
	sealed, closer, err := b.store.db.Get(row("a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.store.db.Set(row("b"), bytes.Clone(sealed), pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	_ = closer.Close()
	if err := b.store.Close(); err != nil {
		t.Fatal(err)
	}
	b.open(dir)
	if _, err := b.store.List(t.Context(), ListQuery{Scopes: []string{agentScope}, Limit: 10}); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("a row in another's place is listed: %v", err)
	}
	b.index++
	if _, err := b.store.Apply(b.index, 1, b.entry(b.access(mainID, get("b", "", 0))), true); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("a row in another's place is served: %v", err)
	}
}

func TestNothingReadableInTheStore(t *testing.T) {
	b := newCluster(t)
	b.one(mainID, put("very/secret-path", agentScope, "very secret value"), ok)
	b.fill(1500)
	if _, err := b.store.Checkpoint(t.Context(), filepath.Join(t.TempDir(), "c")); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(b.store.cfg.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		for _, s := range []string{"secret-path", "secret value", "acme/bot", "agent/acme"} {
			if bytes.Contains(data, []byte(s)) {
				t.Errorf("%q stands in clear in %s", s, d.Name())
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestErase: the sealed bytes of what was destroyed leave the files.
func TestErase(t *testing.T) {
	b := newCluster(t)
	b.one(mainID, put("k", agentScope, "v"), ok)
	scope, err := parseFullScope(agentScope, td)
	if err != nil {
		t.Fatal(err)
	}
	key := RecordKey(b.keys, scope, "k")
	sealed, closer, err := b.store.db.Get(fullKey(tableValue, valueKey(key[:], 1)))
	if err != nil {
		t.Fatal(err)
	}
	row := bytes.Clone(sealed)
	_ = closer.Close()
	found := func() (n int) {
		err := filepath.WalkDir(b.store.cfg.Dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			if bytes.Contains(data, row[30:]) { // rows of a batch share what is before, and tables are compressed
				n++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if err := b.store.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found() == 0 || b.store.Erasable() {
		t.Fatal("the sealed bytes are not where the test looks")
	}
	b.one(mainID, destroy("k", agentScope, 0), ok)
	if !b.store.Erasable() {
		t.Fatal("nothing to erase after a destroy")
	}
	if err := b.store.Erase(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := b.store.cfg.Dir
	if err := b.store.Close(); err != nil { // obsolete files are removed in the background
		t.Fatal(err)
	}
	b.open(dir)
	if n := found(); n > 0 {
		t.Errorf("the sealed bytes are still in %d files", n)
	}
}

func TestRefusedEntries(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*fsmpb.Entry)
		want   error
	}{
		"unknown format":  {func(e *fsmpb.Entry) { e.Format = 2 }, ErrUnknownFormat},
		"unknown field":   {func(e *fsmpb.Entry) { e.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 1}) }, ErrUnknownFormat},
		"another cluster": {func(e *fsmpb.Entry) { e.ClusterId = make([]byte, 16) }, ErrWrongCluster},
		"diverged":        {func(e *fsmpb.Entry) { e.Check = &fsmpb.Check{Size: 1, Root: make([]byte, 32)} }, ErrDiverged},
		"invalid access":  {func(e *fsmpb.Entry) { e.Accesses[0].Salt = nil }, ErrCorrupt},
		"no operation":    {func(e *fsmpb.Entry) { e.Accesses[0].Op = nil }, ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			b := newCluster(t)
			id := b.keys.ClusterID()
			e := &fsmpb.Entry{
				Format: entryFormat, Time: b.now, ClusterId: id[:], Leader: "n1",
				Accesses: []*fsmpb.Access{b.access(mainID, get("k", "", 0))},
			}
			c.change(e)
			data, err := deterministic.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.store.Apply(9, 1, data, false); !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if _, err := b.store.Apply(10, 1, b.entry(), false); !errors.Is(err, c.want) {
				t.Fatal("the store goes on after a fatal error")
			}
		})
	}
}

func TestStoreOfAnotherCluster(t *testing.T) {
	b := newCluster(t)
	dir := b.store.cfg.Dir
	if err := b.store.Close(); err != nil {
		t.Fatal(err)
	}
	keys, err := seal.NewKeyring([16]byte{9})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Dir: dir, Keys: keys}); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("another cluster's keys open the store: %v", err)
	}
}
