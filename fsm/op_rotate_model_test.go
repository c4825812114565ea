package fsm

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// rotationModel is what a record with rotations is meant to be, in a few lines.
type rotationModel struct {
	path            string
	begun           uint64            // index
	values          map[uint64]string // readable versions, the pending one too
	ends            map[uint64]int64  // of graces
	latest, current uint64
	pending, base   uint64
	generation      uint64 // of the lease; 0: none
	last            uint64 // generation given
	holder          string
	until           int64
	changes         []fsmpb.Change_Kind
}

func (m *rotationModel) put(value string) {
	m.latest++
	m.current = m.latest
	m.values[m.current] = value
	m.changes = append(m.changes, fsmpb.Change_KIND_PUT)
}

func (m *rotationModel) drop() {
	delete(m.values, m.pending)
	m.pending = 0
}

// TestRotationMachine draws steps of three rotators against one record, with
// crashes as steps that are left out, and holds the machine against the model.
func TestRotationMachine(t *testing.T) {
	b := newCluster(t)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		m := &rotationModel{path: fmt.Sprint("k", run), begun: b.index, values: map[uint64]string{}, ends: map[uint64]int64{}}
		b.one(mainID, put(m.path, agentScope, "first"), ok)
		m.put("first")
		for i := range rapid.IntRange(1, 40).Draw(rt, "steps") {
			who := rapid.SampledFrom([]string{mainID, researID, writerID}).Draw(rt, "who")
			generation := rapid.SampledFrom([]uint64{m.generation, m.generation, m.last, 1}).Draw(rt, "generation")
			holds := m.generation != 0 && m.generation == generation && m.holder == who
			value := fmt.Sprint("value ", i)
			b.now += rapid.SampledFrom([]int64{1, 1, 1, int64(time.Minute), int64(time.Hour)}).Draw(rt, "time")
			at := b.now + int64(time.Millisecond) // of the entry that do makes
			want := map[bool]fsmpb.Outcome{true: ok, false: conflicted}
			switch rapid.SampledFrom([]string{"put", "begin", "begin", "stage", "stage", "commit", "commit", "abort", "sweep"}).Draw(rt, "step") {
			case "put":
				b.one(who, put(m.path, agentScope, value), ok)
				m.put(value)
			case "begin":
				free := m.generation == 0 || m.until <= at
				r := b.one(who, begin(m.path, agentScope, 10*time.Minute), want[free])
				if free {
					m.last++
					m.generation, m.holder, m.until = m.last, who, at+int64(10*time.Minute)
					if r.GetRotation().GetGeneration() != m.last || r.GetRotation().GetPending() != m.pending {
						rt.Fatalf("begin: %v", r)
					}
				}
			case "stage":
				b.one(who, stage(m.path, agentScope, generation, value), want[holds])
				if holds {
					m.drop()
					m.latest++
					m.pending, m.base = m.latest, m.current
					m.values[m.pending] = value
				}
			case "commit":
				good := holds && m.pending != 0 && m.base == m.current
				version := max(m.pending, 1)
				b.one(who, commit(m.path, agentScope, generation, version, time.Hour), want[good])
				if good {
					m.ends[m.current] = at + int64(time.Hour)
					m.current, m.pending, m.generation = m.pending, 0, 0
					m.changes = append(m.changes, fsmpb.Change_KIND_ROTATE)
				}
			case "abort":
				b.one(who, abort(m.path, agentScope, generation), want[holds])
				if holds {
					m.drop()
					m.generation = 0
				}
			case "sweep":
				b.one(nodeID, sweep(), ok)
			}
			m.check(rt, b)
		}
	})
}

func (m *rotationModel) check(rt *rapid.T, b *bench) {
	rs := b.do(b.access(writerID, get(m.path, "", 0)),
		b.access(mainID, &fsmpb.Access{Op: &fsmpb.Access_Versions{Versions: &fsmpb.Versions{Path: m.path}}}))
	if r := rs[0].GetSecret(); r.GetVersion() != m.current || string(r.GetSealed()) != "sealed "+m.values[m.current] {
		rt.Fatalf("current is version %d, want %d", r.GetVersion(), m.current)
	}
	current := 0
	var gets []*fsmpb.Access
	var want []fsmpb.Outcome
	for _, v := range rs[1].GetVersionList().GetVersions() {
		n := v.GetVersion()
		_, readable := m.values[n]
		if end, has := m.ends[n]; has && end <= b.now {
			readable = false
		}
		if v.GetDestroyed() == readable {
			rt.Fatalf("version %d: destroyed is %t", n, v.GetDestroyed())
		}
		if v.GetCurrent() {
			current++
		}
		if v.GetPending() != (n == m.pending) {
			rt.Fatalf("version %d: pending is %t, that is %d", n, v.GetPending(), m.pending)
		}
		gets = append(gets, b.access(writerID, get(m.path, "", n)))
		want = append(want, map[bool]fsmpb.Outcome{true: ok, false: missing}[readable && (n != m.pending || m.holder == writerID)])
	}
	if current != 1 {
		rt.Fatalf("%d versions are current", current)
	}
	for i, r := range b.do(gets...) {
		if r.GetOutcome() != want[i] {
			rt.Fatalf("a get of version %d is %v, want %v", gets[i].GetGet().GetVersion(), r.GetOutcome(), want[i])
		}
	}
	kinds := slices.DeleteFunc(b.changes(m.begun, agentScope), func(k fsmpb.Change_Kind) bool { return k == fsmpb.Change_KIND_DESTROY })
	if !slices.Equal(kinds, m.changes) {
		rt.Fatalf("changes %v, want %v", kinds, m.changes)
	}
}
