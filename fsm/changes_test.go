package fsm

import (
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"pgregory.net/rapid"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// changes are the kinds of what changed after an index.
func (b *bench) changes(after uint64, scopes ...string) []fsmpb.Change_Kind {
	b.t.Helper()
	page, err := b.store.Changes(b.t.Context(), ChangeQuery{
		Scopes: scopes, After: PlaceAfter(after), Upto: b.store.AppliedIndex(), Limit: 1000,
	})
	if err != nil || page.Gap || page.More {
		b.t.Fatalf("changes: %v, %v", page, err)
	}
	var kinds []fsmpb.Change_Kind
	for _, c := range page.Changes {
		kinds = append(kinds, c.GetKind())
	}
	return kinds
}

func count[E comparable](s []E, e E) int {
	n := 0
	for _, x := range s {
		if x == e {
			n++
		}
	}
	return n
}

func TestChangesSayWhatHappened(t *testing.T) {
	b := newCluster(t)
	b.one(mainID, put("k", agentScope, "v1"), ok)
	b.one(mainID, del("k", agentScope), ok)
	b.one(mainID, del("k", agentScope), missing) // what is refused is no change
	b.one(mainID, undel("k", agentScope), ok)
	b.one(mainID, put("k", agentScope, "v2"), ok)
	b.one(mainID, destroy("k", agentScope, 1), ok)
	b.one(mainID, del("k", agentScope), ok)
	b.now += 25 * int64(time.Hour)
	b.one(nodeID, sweep(), ok)
	b.one(otherID, put("k", "spiffe://hexr.cloud/agent/acme/other/*", "v"), ok)
	want := []fsmpb.Change_Kind{
		fsmpb.Change_KIND_PUT, fsmpb.Change_KIND_DELETE, fsmpb.Change_KIND_UNDELETE, fsmpb.Change_KIND_PUT,
		fsmpb.Change_KIND_DESTROY, fsmpb.Change_KIND_DELETE, fsmpb.Change_KIND_DESTROY,
	}
	if got := b.changes(0, researScope, agentScope, tenantScope); !slices.Equal(got, want) {
		t.Errorf("changes: %v, want %v", got, want)
	}
}

// TestChangesPageByPage: whatever is drawn, reading from any place in any steps
// gives each change behind it once, in order, or says that some are gone.
func TestChangesPageByPage(t *testing.T) {
	b := newCluster(t)
	b.one(operID, &fsmpb.Access{Op: &fsmpb.Access_SettingsSet{SettingsSet: &fsmpb.SettingsSet{Name: "changes_kept", Value: "16"}}}, ok)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		agent := "spiffe://hexr.cloud/agent/acme/bot-" + strconv.Itoa(run)
		scopes := []string{agent + "/one", agent + "/two", agent + "/*"}
		begun := b.index
		var places []Place
		perScope := map[string][]Place{}
		for range rapid.IntRange(1, 15).Draw(rt, "entries") {
			accesses := make([]*fsmpb.Access, rapid.SampledFrom([]int{0, 1, 3, 25}).Draw(rt, "accesses"))
			for i := range accesses {
				scope := rapid.SampledFrom(scopes).Draw(rt, "scope")
				accesses[i] = b.access(provID, put("k", scope, "v"))
				p := Place{b.index + 1, uint32(i + 1)}
				places, perScope[scope] = append(places, p), append(perScope[scope], p)
			}
			b.do(accesses...)
		}
		after := PlaceAfter(rapid.Uint64Range(begun, b.index).Draw(rt, "after"))
		if len(places) > 0 && rapid.Bool().Draw(rt, "within") {
			after = rapid.SampledFrom(places).Draw(rt, "place")
		}
		gap := false
		for scope, of := range perScope {
			first := 0
			for n := range of {
				if n+1-first > 16+4 {
					first = n + 1 - 16
				}
			}
			gap = gap || first > 0 && after.Before(of[first-1])
			if rows := b.changeRows(scope); rows != len(of)-first {
				rt.Fatalf("%d changes of %d are in the store, want %d", rows, len(of), len(of)-first)
			}
		}
		want := slices.DeleteFunc(slices.Clone(places), func(p Place) bool { return !after.Before(p) })
		var got []Place
		q := ChangeQuery{Scopes: scopes, After: after, Upto: b.index, Limit: rapid.IntRange(1, 5).Draw(rt, "limit")}
		for {
			page, err := b.store.Changes(t.Context(), q)
			if err != nil || page.Gap != gap {
				rt.Fatalf("gap is %t, want %t: %v", page.Gap, gap, err)
			}
			for _, c := range page.Changes {
				got = append(got, placeOf(c.GetPosition()))
			}
			if q.After = page.Next; !page.More {
				break
			}
		}
		if !gap && !slices.Equal(got, want) || gap && got != nil {
			rt.Fatalf("changes after %s: %v, want %v", after, got, want)
		}
		if q.After != PlaceAfter(b.index) {
			rt.Fatalf("the last page ends at %s", q.After)
		}
	})
}

// changeRows is how many changes of a scope the database has.
func (b *bench) changeRows(scope string) (n int) {
	key := b.keys.Opaque("changes", scope)
	it, err := b.store.db.NewIter(&pebble.IterOptions{LowerBound: fullKey(tableChange, key[:]), UpperBound: fullKey(tableChange, changeKey(key[:], 1<<63))})
	if err != nil {
		b.t.Fatal(err)
	}
	for it.First(); it.Valid(); it.Next() {
		n++
	}
	if err := it.Close(); err != nil {
		b.t.Fatal(err)
	}
	return n
}

func TestPlaces(t *testing.T) {
	for _, s := range []string{"0", "7", "18446744073709551615", "7.1", "7.4294967294"} {
		if p, err := ParsePlace(s); err != nil || p.String() != s {
			t.Errorf("%q: %v, %v", s, p, err)
		}
	}
	for _, s := range []string{"", "x", "-1", "+1", "07", "7.", "7.x", ".1", "7.01", "7.4294967295", "18446744073709551616", "7 "} {
		if _, err := ParsePlace(s); err == nil {
			t.Errorf("%q is a place", s)
		}
	}
	if PlaceAfter(7).Before(Place{7, math.MaxUint32 - 1}) || !(Place{7, 1}).Before(PlaceAfter(7)) || !PlaceAfter(7).Before(Place{8, 1}) {
		t.Error("the order of places")
	}
}

// TestWatchersAreWokenByTheirOwn: an entry wakes who watches what it changed.
func TestWatchersAreWokenByTheirOwn(t *testing.T) {
	b := newCluster(t)
	mine, theirs := b.store.Watch([]string{researScope, agentScope}), b.store.Watch([]string{tenantScope})
	defer theirs.Close()
	awake := func(w *Watcher) bool {
		select {
		case <-w.C:
			return true
		default:
			return false
		}
	}
	b.one(mainID, get("k", "", 0), missing)
	if awake(mine) || awake(theirs) {
		t.Error("a read wakes")
	}
	b.one(mainID, put("k", agentScope, "v"), ok)
	b.one(mainID, put("k", agentScope, "v"), ok)
	if !awake(mine) || awake(mine) || awake(theirs) {
		t.Error("a put wakes not its own watcher alone, once")
	}
	dir := t.TempDir() + "/checkpoint"
	if _, err := b.store.Checkpoint(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if err := b.store.Restore(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if !awake(mine) || !awake(theirs) {
		t.Error("a restore does not wake all")
	}
	mine.Close()
	b.one(mainID, put("k", agentScope, "v"), ok)
	if awake(mine) || len(b.store.watchers.all) != 1 {
		t.Error("a closed watcher is woken")
	}
}

func TestWatchIsGranted(t *testing.T) {
	b := newCluster(t)
	watch := func(scope string) *fsmpb.Access {
		return &fsmpb.Access{Op: &fsmpb.Access_Watch{Watch: &fsmpb.Watch{Prefix: "a", Scope: scope}}}
	}
	got := b.one(researID, watch(""), ok).GetWatchGrant().GetScopes()
	if !slices.Equal(got, []string{researScope, agentScope, tenantScope}) {
		t.Errorf("scopes: %v", got)
	}
	b.one(researID, watch(researScope), ok)
	b.one(writerID, watch(researScope), refused)
	b.one(mainID, watch(researScope), refused) // main can't read it
	b.one(foreign, watch(agentScope), refused)
	b.one(provID, watch(agentScope), ok)
	b.one(provID, watch(""), fsmpb.Outcome_OUTCOME_INVALID)
	b.one(operID, watch(agentScope), ok)
	b.one(audID, watch(agentScope), refused)
}

// BenchmarkChanges reads what changed in one agent's scopes, in a store where a
// hundred other scopes changed just as often.
func BenchmarkChanges(b *testing.B) {
	bench := newCluster(b)
	for i := range 150 {
		accesses := []*fsmpb.Access{bench.access(mainID, put("k", agentScope, "v"))}
		for j := range 100 {
			scope := "spiffe://hexr.cloud/agent/acme/bot-" + strconv.Itoa(j) + "/*"
			accesses = append(accesses, bench.access(provID, put("k", scope, "v"+strconv.Itoa(i))))
		}
		bench.do(accesses...)
	}
	for _, behind := range []uint64{0, 1, 100} {
		b.Run(strconv.FormatUint(behind, 10)+"-new", func(b *testing.B) {
			q := ChangeQuery{
				Scopes: []string{researScope, agentScope, tenantScope}, After: PlaceAfter(bench.index - behind), Upto: bench.index, Limit: 256,
			}
			for b.Loop() {
				page, err := bench.store.Changes(b.Context(), q)
				if err != nil || uint64(len(page.Changes)) != behind {
					b.Fatal(len(page.Changes), err)
				}
			}
		})
	}
}
