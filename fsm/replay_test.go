package fsm

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// drawAccess makes a random access of a small world, so that they meet.
func drawAccess(t *rapid.T, b *bench) *fsmpb.Access {
	path := rapid.SampledFrom([]string{"a", "a/b", "b", "c/d/e"}).Draw(t, "path")
	scope := rapid.SampledFrom([]string{agentScope, researScope, tenantScope, "spiffe://hexr.cloud/agent/acme/other/*"}).Draw(t, "scope")
	caller := rapid.SampledFrom([]string{mainID, researID, writerID, otherID, foreign, provID, operID, audID, nodeID}).Draw(t, "caller")
	version := rapid.Uint64Range(0, 4).Draw(t, "version")
	pinned := rapid.SampledFrom([]string{"", scope}).Draw(t, "pinned")
	var a *fsmpb.Access
	generation := rapid.Uint64Range(0, 3).Draw(t, "generation")
	switch rapid.IntRange(0, 19).Draw(t, "op") {
	case 0, 1, 2:
		a = put(path, scope, fmt.Sprint("v", version))
		if rapid.Bool().Draw(t, "cas") {
			a.GetPut().ExpectedVersion = &version
		}
	case 3, 4:
		a = get(path, pinned, version)
	case 5:
		a = del(path, scope)
	case 6:
		a = undel(path, scope)
	case 7:
		a = destroy(path, scope, version)
	case 8:
		a = rapid.SampledFrom([]*fsmpb.Access{
			{Op: &fsmpb.Access_Versions{Versions: &fsmpb.Versions{Path: path, Scope: pinned}}},
			{Op: &fsmpb.Access_Describe{Describe: &fsmpb.Describe{Path: path, Scope: pinned}}},
		}).Draw(t, "shown")
	case 9:
		a = &fsmpb.Access{Op: &fsmpb.Access_List{List: &fsmpb.List{Scope: pinned}}}
	case 10:
		a = &fsmpb.Access{Op: &fsmpb.Access_Sweep{Sweep: &fsmpb.Sweep{Limit: 3}}}
		caller = nodeID
	case 11, 12:
		a = begin(path, scope, time.Minute)
		a.GetRotateBegin().Generation = generation
	case 13, 14:
		a = stage(path, scope, generation, fmt.Sprint("staged", version))
	case 15:
		a = commit(path, scope, generation, version+1, time.Hour)
	case 16:
		a = abort(path, scope, generation)
	case 17:
		a = schedule(path, scope, 14*time.Hour)
	case 18:
		a = rapid.SampledFrom([]*fsmpb.Access{
			keyDurable(value, uint32(version)+1, printA), activate(value, uint32(version)+1), keyUse(uint32(version)+1, version > 2),
			keyAdd(value, uint32(version)+1), keyAdd(storage, uint32(version)+1),
			{Op: &fsmpb.Access_SettingsSet{SettingsSet: &fsmpb.SettingsSet{Name: "versions_kept", Value: fmt.Sprint(version + 1)}}},
			{Op: &fsmpb.Access_SettingsSet{SettingsSet: &fsmpb.SettingsSet{
				Name: "request_window", Value: []string{"10s", "1m", "2m", "10m", "1h"}[version],
			}}},
		}).Draw(t, "key")
		caller = rapid.SampledFrom([]string{nodeID, operID}).Draw(t, "who")
	default:
		a = &fsmpb.Access{Op: &fsmpb.Access_Block{Block: &fsmpb.Block{Subject: "agent/acme/other"}}}
		caller = operID
	}
	if rapid.IntRange(0, 9).Draw(t, "again") == 0 {
		a.RequestId = []byte("always the same!")
	}
	return b.access(caller, a)
}

// TestReplay applies random entries to two stores and to the model. One store
// is closed and opened, checkpointed and restored on the way, and sometimes finds
// nothing in its caches; all three must agree on every result, and the stores on the
// root and the listing.
func TestReplay(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBench(t)
		dir := t.TempDir()
		other, err := Open(t.Context(), Config{Dir: filepath.Join(dir, "other"), Keys: b.keys})
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = other.Close() }()
		other.copies.from = 0
		model, st := mapTx{}, newState(b.keys.ClusterID())
		var log [][]byte
		step := func(data []byte) {
			log = append(log, data)
			index := uint64(len(log))
			capture := rapid.Bool().Draw(rt, "capture")
			first, err := b.store.Apply(index, 1, data, capture)
			if err != nil {
				rt.Fatal(err)
			}
			if rapid.Bool().Draw(rt, "cold") {
				other.cache.rows.clear()
				other.cache.records.records.clear()
				other.cache.records.records.most = rapid.SampledFrom([]int{0, cachedVersions}).Draw(rt, "kept") // 0: briefs decide
				if rapid.Bool().Draw(rt, "forgotten") {
					*other.cache.records.briefs = *newBriefs(other.copies)
					other.cache.requests.filter = newRequestFilter(other.AppliedIndex())
				}
			}
			e, err := decodeEntry(data, b.keys.ClusterID())
			if err != nil {
				rt.Fatal(err)
			}
			held := make([][]byte, len(e.GetAccesses()))
			var foreseen []*fsmpb.Secret
			if rapid.Bool().Draw(rt, "expected") {
				foreseen = other.Foresee(e.GetAccesses())
				for i, s := range foreseen {
					held[i] = s.GetDigest()
				}
				other.Expect(data, held)
			}
			second, err := other.Apply(index, 1, data, capture)
			if err != nil {
				rt.Fatal(err)
			}
			for i, s := range foreseen {
				if shown := second[i].GetSecret(); len(held[i]) > 0 && bytes.Equal(held[i], shown.GetDigest()) {
					if len(shown.GetSealed()) > 0 {
						rt.Fatalf("entry %d, access %d: a value that is held is shown", index, i)
					}
					shown.Sealed = s.GetSealed()
				}
			}
			third, _ := applyEntry(model.entry(b.keys), st, e, index, 1, capture, nil)
			for i := range third {
				if first != nil && !proto.Equal(first[i], third[i]) || !proto.Equal(second[i], third[i]) {
					rt.Fatalf("entry %d, access %d: %v, %v, model %v", index, i, first, second[i], third[i])
				}
			}
		}
		b.n = 0
		step(bootEntry(b))
		for range rapid.IntRange(1, 25).Draw(rt, "entries") {
			b.now += rapid.SampledFrom([]int64{1, 10 * int64(time.Second), int64(time.Minute), 13 * int64(time.Hour)}).Draw(rt, "time")
			accesses := make([]*fsmpb.Access, rapid.IntRange(0, 4).Draw(rt, "accesses"))
			for i := range accesses {
				accesses[i] = drawAccess(rt, b)
			}
			if rapid.Bool().Draw(rt, "read") {
				for _, path := range []string{"a", "a/b"} {
					accesses = append(accesses, b.access(mainID, get(path, "", 0)), b.access(otherID, get(path, tenantScope, 0)))
				}
			}
			step(b.entry(accesses...))
			switch rapid.IntRange(0, 7).Draw(rt, "event") {
			case 0:
				other = reopened(rt, t, b, other, dir)
			case 1:
				restored(rt, t, other, dir, len(log))
			}
		}
		compareStores(rt, t, b.store, other)
		compareHeads(rt, model, b.store, other)
	})
}

func bootEntry(b *bench) []byte {
	return b.entry(b.access(nodeID, &fsmpb.Access{Op: &fsmpb.Access_Bootstrap{Bootstrap: &fsmpb.Bootstrap{
		TrustDomain: td, Member: &fsmpb.Member{Id: "n1", Address: "127.0.0.1:1", AuditKey: make([]byte, 32)},
	}}}))
}

func reopened(rt *rapid.T, t *testing.T, b *bench, s *Store, dir string) *Store {
	if err := s.Close(); err != nil {
		rt.Fatal(err)
	}
	again, err := Open(t.Context(), Config{Dir: filepath.Join(dir, "other"), Keys: b.keys})
	if err != nil {
		rt.Fatal(err)
	}
	again.copies.from = 0
	return again
}

func restored(rt *rapid.T, t *testing.T, s *Store, dir string, n int) {
	check := filepath.Join(dir, fmt.Sprint("checkpoint-", n))
	meta, err := s.Checkpoint(t.Context(), check)
	if err != nil || meta.Index != s.AppliedIndex() {
		rt.Fatalf("checkpoint of %d holds %d: %v", s.AppliedIndex(), meta.Index, err)
	}
	if err := s.Restore(t.Context(), check); err != nil {
		rt.Fatal(err)
	}
}

// compareHeads: each head's row is the model's, however much of it was known before.
func compareHeads(rt *rapid.T, model mapTx, stores ...*Store) {
	for key, want := range model {
		if table(key[0]) != tableHead {
			continue
		}
		var h fsmpb.Head
		if err := proto.Unmarshal(want, &h); err != nil {
			rt.Fatal(err)
		}
		for _, s := range stores {
			r := reader{s.db, s.codec}
			record := s.codec.keys.Opaque(domainRecord, h.GetScope(), h.GetPath())
			if got, err := r.raw(fullKey(tableHead, record[:])); err != nil || !bytes.Equal(got, want) {
				rt.Fatalf("a head is kept as %x, %v, not as %x", got, err, want)
			}
		}
	}
}

func compareStores(rt *rapid.T, t *testing.T, a, b *Store) {
	if a.AuditSize() != b.AuditSize() || a.Time() != b.Time() {
		rt.Fatalf("%d rows at %d, %d rows at %d", a.AuditSize(), a.Time(), b.AuditSize(), b.Time())
	}
	for size := uint64(1); size <= a.AuditSize(); size += 1 + a.AuditSize()/5 {
		ra, err1 := a.Root(size)
		rb, err2 := b.Root(size)
		if ra != rb || err1 != nil || err2 != nil {
			rt.Fatal("the roots differ", err1, err2)
		}
	}
	q := ListQuery{Scopes: []string{researScope, agentScope, tenantScope}, Limit: 100, IncludeDeleted: true}
	la, err1 := a.List(t.Context(), q)
	lb, err2 := b.List(t.Context(), q)
	if err1 != nil || err2 != nil || len(la.Secrets) != len(lb.Secrets) {
		rt.Fatal("the listings differ", err1, err2)
	}
	for i := range la.Secrets {
		if !proto.Equal(la.Secrets[i], lb.Secrets[i]) {
			rt.Fatal("the listings differ")
		}
	}
	changes := ChangeQuery{Scopes: q.Scopes, Upto: a.AppliedIndex(), Limit: 1000}
	ca, err1 := a.Changes(t.Context(), changes)
	cb, err2 := b.Changes(t.Context(), changes)
	if err1 != nil || err2 != nil || len(ca.Changes) != len(cb.Changes) || a.Overdue() != b.Overdue() {
		rt.Fatal("the changes differ", err1, err2)
	}
	for i := range ca.Changes {
		if !proto.Equal(ca.Changes[i], cb.Changes[i]) {
			rt.Fatal("the changes differ")
		}
	}
}
