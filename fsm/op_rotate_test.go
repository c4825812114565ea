package fsm

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const (
	conflicted = fsmpb.Outcome_OUTCOME_CONFLICT
	missing    = fsmpb.Outcome_OUTCOME_NOT_FOUND
	refused    = fsmpb.Outcome_OUTCOME_DENIED
)

// reads is what a get of the version returns.
func (b *bench) reads(who string, version uint64, want string) {
	b.t.Helper()
	r := b.one(who, get("k", "", version), ok)
	if string(r.GetSecret().GetSealed()) != "sealed "+want {
		b.t.Fatalf("a get of version %d gives %q, want %q", version, r.GetSecret().GetSealed(), want)
	}
}

func TestRotate(t *testing.T) {
	b := newCluster(t)
	b.one(mainID, begin("k", agentScope, time.Minute), missing)
	b.one(mainID, put("k", agentScope, "v1"), ok)
	st := b.one(mainID, begin("k", agentScope, time.Minute), ok).GetRotation()
	if st.GetGeneration() != 1 || st.GetCurrent() != 1 || st.GetPending() != 0 || st.GetResumed() {
		t.Fatalf("begin: %v", st)
	}
	held := b.one(researID, begin("k", agentScope, time.Minute), conflicted)
	if !held.GetRotation().GetHeld() {
		t.Error("a second rotator is not told that the lease is held")
	}
	if p := b.one(mainID, stage("k", agentScope, 1, "v2"), ok).GetRotation().GetPending(); p != 2 {
		t.Fatalf("pending is %d", p)
	}
	b.reads(researID, 0, "v1")
	b.reads(mainID, 2, "v2")
	b.one(researID, get("k", "", 2), missing) // not the holder of the lease
	b.one(researID, commit("k", agentScope, 1, 2, time.Hour), conflicted)
	b.one(mainID, commit("k", agentScope, 1, 1, time.Hour), conflicted)
	done := b.one(mainID, commit("k", agentScope, 1, 2, time.Hour), ok).GetRotation()
	if done.GetCurrent() != 2 || done.GetPrevious() != 1 || done.GetPreviousUntil() != b.now+int64(time.Hour) {
		t.Fatalf("commit: %v", done)
	}
	b.reads(researID, 0, "v2")
	b.reads(researID, 1, "v1")
	b.now += int64(time.Hour)
	b.one(researID, get("k", "", 1), missing) // also before the sweep
	b.one(nodeID, sweep(), ok)
	b.reads(researID, 0, "v2")
	list := b.one(mainID, &fsmpb.Access{Op: &fsmpb.Access_Versions{Versions: &fsmpb.Versions{Path: "k"}}}, ok).GetVersionList().GetVersions()
	if len(list) != 2 || !list[0].GetDestroyed() || list[0].GetCurrent() || !list[1].GetCurrent() || list[1].GetPending() {
		t.Errorf("versions: %v", list)
	}
	b.one(mainID, abort("k", agentScope, 1), conflicted)
}

// TestRotateTakenOver: who comes after a rotator that went away sees its pending
// version; who comes back late changes nothing.
func TestRotateTakenOver(t *testing.T) {
	b := newCluster(t)
	b.one(mainID, put("k", agentScope, "v1"), ok)
	b.one(mainID, begin("k", agentScope, time.Minute), ok)
	b.one(mainID, stage("k", agentScope, 1, "v2"), ok)
	b.now += int64(time.Minute)
	st := b.one(researID, begin("k", agentScope, time.Minute), ok).GetRotation()
	if st.GetGeneration() != 2 || st.GetPending() != 2 || !st.GetResumed() {
		t.Fatalf("taken over: %v", st)
	}
	b.one(mainID, commit("k", agentScope, 1, 2, 0), conflicted)
	b.one(mainID, stage("k", agentScope, 1, "late"), conflicted)
	b.one(mainID, get("k", "", 2), missing)
	b.reads(researID, 2, "v2")
	b.one(researID, stage("k", agentScope, 2, "v3"), ok) // discards what was pending
	b.one(researID, get("k", "", 2), missing)
	b.one(researID, commit("k", agentScope, 2, 2, 0), conflicted)
	keep := begin("k", agentScope, time.Hour)
	keep.GetRotateBegin().Generation = 2
	b.one(researID, keep, ok)
	b.now += 2 * int64(time.Minute)
	b.one(mainID, begin("k", agentScope, time.Minute), conflicted) // the lease was kept
	b.one(researID, commit("k", agentScope, 2, 3, 0), ok)
	b.reads(mainID, 0, "v3")
	b.one(mainID, get("k", "", 1), missing) // no grace
}

// TestRotateAgainstOthers: a put in between wins, a deletion ends nothing, a
// destruction everything.
func TestRotateAgainstOthers(t *testing.T) {
	b := newCluster(t)
	b.one(mainID, put("k", agentScope, "v1"), ok)
	b.one(mainID, begin("k", agentScope, time.Minute), ok)
	b.one(mainID, stage("k", agentScope, 1, "v2"), ok)
	again := put("k", agentScope, "v3")
	one := uint64(1)
	again.GetPut().ExpectedVersion = &one // the current one, not the latest number
	b.one(researID, again, ok)
	b.reads(mainID, 0, "v3")
	if c := b.one(mainID, commit("k", agentScope, 1, 2, 0), conflicted).GetRotation(); c.GetHeld() || c.GetCurrent() != 3 {
		t.Errorf("commit after a put: %v", c)
	}
	b.one(mainID, abort("k", agentScope, 1), ok)
	b.reads(mainID, 0, "v3")
	b.one(mainID, get("k", "", 2), missing)

	b.one(mainID, begin("k", agentScope, time.Minute), ok)
	b.one(mainID, stage("k", agentScope, 2, "v4"), ok)
	b.one(mainID, abort("k", agentScope, 2), ok)
	b.reads(mainID, 0, "v3") // what was given up has the latest number
	b.one(mainID, put("k", agentScope, "v5"), ok)
	b.reads(mainID, 0, "v5")
	b.reads(mainID, 5, "v5")

	b.one(mainID, begin("k", agentScope, time.Minute), ok)
	b.one(mainID, stage("k", agentScope, 3, "v6"), ok)
	b.one(mainID, del("k", agentScope), ok)
	b.one(mainID, commit("k", agentScope, 3, 6, 0), missing)
	b.one(mainID, undel("k", agentScope), ok)
	b.reads(mainID, 0, "v5")
	b.one(mainID, destroy("k", agentScope, 6), ok)
	b.one(mainID, commit("k", agentScope, 3, 6, 0), conflicted) // what was pending is destroyed, and the rotation over
	b.reads(mainID, 0, "v5")

	b.one(mainID, begin("k", agentScope, time.Minute), ok)
	b.one(mainID, stage("k", agentScope, 4, "v7"), ok)
	b.one(mainID, destroy("k", agentScope, 0), ok)
	b.one(mainID, commit("k", agentScope, 4, 7, 0), missing)
	b.one(mainID, put("k", agentScope, "v8"), ok)
	b.reads(mainID, 8, "v8")
}

// TestRotateKeepsWhoOwns: who may put may rotate, and what people provided is
// rotated by people alone.
func TestRotateKeepsWhoOwns(t *testing.T) {
	b := newCluster(t)
	b.one(provID, put("k", agentScope, "v1"), ok)
	b.one(mainID, begin("k", agentScope, time.Minute), refused)
	b.one(provID, begin("k", agentScope, time.Minute), ok)
	b.one(provID, stage("k", agentScope, 1, "v2"), ok)
	b.one(provID, commit("k", agentScope, 1, 2, time.Hour), ok)
	b.reads(mainID, 0, "v2")
	b.one(mainID, put("k", agentScope, "mine"), refused)

	b.one(mainID, put("own", agentScope, "v1"), ok)
	b.one(provID, begin("own", agentScope, time.Minute), ok)
	b.one(provID, stage("own", agentScope, 1, "theirs"), ok)
	b.now += int64(time.Minute)
	st := b.one(mainID, begin("own", agentScope, time.Minute), ok).GetRotation()
	if st.GetPending() != 0 || st.GetResumed() {
		t.Errorf("an agent took over what a provisioner made: %v", st)
	}
	for _, who := range []string{otherID, foreign, operID, audID} {
		b.one(who, begin("own", agentScope, time.Minute), refused)
	}
	b.one(researID, put("own", researScope, "narrow"), ok)
	b.one(mainID, abort("own", agentScope, 2), ok)
	b.one(researID, begin("own", agentScope, time.Minute), fsmpb.Outcome_OUTCOME_SHADOWED)
}

// TestRotateReplays: each step under the same request id is done once.
func TestRotateReplays(t *testing.T) {
	b := newCluster(t)
	b.one(mainID, put("k", agentScope, "v1"), ok)
	for i, step := range []func() *fsmpb.Access{
		func() *fsmpb.Access { return begin("k", agentScope, time.Minute) },
		func() *fsmpb.Access { return stage("k", agentScope, 1, "v2") },
		func() *fsmpb.Access { return commit("k", agentScope, 1, 2, time.Minute) },
		func() *fsmpb.Access { return begin("k", agentScope, time.Minute) },
		func() *fsmpb.Access { return abort("k", agentScope, 2) },
		func() *fsmpb.Access { return schedule("k", agentScope, time.Hour) },
	} {
		id := []byte(fmt.Sprintf("%016d", i))
		first, again := step(), step()
		first.RequestId, again.RequestId = id, id
		a := b.one(mainID, first, ok).GetRotation()
		r := b.one(mainID, again, fsmpb.Outcome_OUTCOME_REPLAYED).GetRotation()
		if a.String() != r.String() {
			t.Errorf("step %d: %v, again %v", i, a, r)
		}
	}
	b.reads(mainID, 0, "v2")
}

func TestVersionsKeptSparesARotation(t *testing.T) {
	b := newCluster(t)
	b.one(operID, &fsmpb.Access{Op: &fsmpb.Access_SettingsSet{SettingsSet: &fsmpb.SettingsSet{Name: "versions_kept", Value: "1"}}}, ok)
	b.one(mainID, put("k", agentScope, "v1"), ok)
	b.one(mainID, begin("k", agentScope, time.Minute), ok)
	b.one(mainID, stage("k", agentScope, 1, "v2"), ok)
	b.reads(mainID, 0, "v1")
	b.one(mainID, commit("k", agentScope, 1, 2, time.Hour), ok)
	b.reads(mainID, 1, "v1")
	b.one(mainID, begin("k", agentScope, time.Minute), ok)
	b.one(mainID, stage("k", agentScope, 2, "v3"), ok)
	b.one(mainID, put("k", agentScope, "v4"), ok) // prunes nothing that a rotation needs
	b.reads(mainID, 1, "v1")
	b.reads(mainID, 3, "v3")
	b.one(mainID, abort("k", agentScope, 2), ok)
	b.one(mainID, put("k", agentScope, "v5"), ok)
	b.one(mainID, get("k", "", 4), missing)
	b.reads(mainID, 1, "v1")
	b.now += int64(time.Hour)
	b.one(nodeID, sweep(), ok)
	b.one(mainID, put("k", agentScope, "v6"), ok)
	if n := len(b.one(mainID, &fsmpb.Access{Op: &fsmpb.Access_Versions{Versions: &fsmpb.Versions{Path: "k"}}}, ok).GetVersionList().GetVersions()); n != 1 {
		t.Errorf("%d versions are kept", n)
	}
}

func TestSchedule(t *testing.T) {
	b := newCluster(t)
	const day = 24 * time.Hour
	scheduled := put("k", agentScope, "v1")
	period := int64(90 * day)
	scheduled.GetPut().Rotation = &period
	b.one(mainID, scheduled, ok)
	overdue := func(want uint64, paths ...string) {
		t.Helper()
		b.one(nodeID, sweep(), ok)
		page, err := b.store.List(t.Context(), ListQuery{Scopes: []string{agentScope}, Limit: 10, Overdue: true})
		if err != nil || b.store.Overdue() != want {
			t.Fatalf("%d are overdue, want %d: %v", b.store.Overdue(), want, err)
		}
		var got []string
		for _, s := range page.Secrets {
			got = append(got, s.GetPath())
		}
		if !slices.Equal(got, paths) {
			t.Fatalf("overdue are %v, want %v", got, paths)
		}
	}
	b.now += 89 * int64(day)
	overdue(0)
	b.one(mainID, put("k", agentScope, "v2"), ok) // a put is a rotation too
	b.now += 2 * int64(day)
	overdue(0)
	b.now += 88 * int64(day)
	overdue(1, "k")
	overdue(1, "k") // once
	b.one(mainID, del("k", agentScope), ok)
	overdue(0)
	b.one(mainID, undel("k", agentScope), ok)
	overdue(1, "k")
	b.one(mainID, begin("k", agentScope, time.Minute), ok)
	b.one(mainID, stage("k", agentScope, 1, "v3"), ok)
	overdue(1, "k")
	b.one(mainID, commit("k", agentScope, 1, 3, time.Hour), ok)
	overdue(0)
	due := b.one(mainID, schedule("k", agentScope, time.Hour), ok).GetRotation().GetDueAt()
	if due < b.now || due > b.now+int64(time.Hour) {
		t.Errorf("due at %d, now is %d", due, b.now)
	}
	b.now += int64(time.Hour)
	overdue(1, "k")
	b.one(mainID, schedule("k", agentScope, 0), ok)
	overdue(0)
	b.one(mainID, schedule("k", agentScope, time.Hour), ok)
	b.one(mainID, put("k", agentScope, "v4"), ok)
	b.one(mainID, destroy("k", agentScope, 0), ok)
	b.now += int64(day)
	overdue(0)
	kinds := b.changes(0, agentScope)
	if n := count(kinds, fsmpb.Change_KIND_OVERDUE); n != 3 {
		t.Errorf("%d times overdue: %v", n, kinds)
	}
}
