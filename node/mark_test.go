package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// copyDir is a backup of a node that does not run.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// TestOlderCopyIsRefused: a voter whose disk went back in time does not take part
// again, whether the others ran on or all start anew, with stores behind their
// logs.
func TestOlderCopyIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, store string) {
		t.Run("among others that run", func(t *testing.T) { olderCopy(t, store, false) })
		t.Run("when all start", func(t *testing.T) { olderCopy(t, store, true) })
	})
}

func olderCopy(t *testing.T, store string, all bool) {
	g := three(t, store, Limits{})
	dir, backup := filepath.Join(g.dir, "n3"), filepath.Join(g.dir, "backup")
	g.must(g.put(g.node("n3"), "before"))
	g.stop("n3")
	copyDir(t, dir, backup)
	n := g.start("n3", false, false)
	for i := range 30 {
		g.must(g.put(n, fmt.Sprint("k", i)))
	}
	index := g.leader().Store().AppliedIndex() // what goes through a node need not be on its disk yet
	g.until("n3 to have it", func() bool { return n.Store().AppliedIndex() >= index })
	g.must(g.put(n, "last"))
	g.stop("n3")
	g.must(os.RemoveAll(dir))
	copyDir(t, backup, dir)
	if all {
		for _, id := range []string{"n1", "n2"} {
			g.stop(id)
			g.must(os.RemoveAll(filepath.Join(g.dir, id, storeDir))) // what power loss may leave
		}
	}
	n = g.start("n3", false, false)
	if all {
		g.start("n1", false, false)
		g.start("n2", false, false)
	}
	g.until("the older copy to end", func() bool { return n.Err() != nil })
	if !errors.Is(n.Err(), ErrRolledBack) {
		t.Fatalf("an older copy of a voter's disk ended with %v", n.Err())
	}
	g.must(g.put(g.leader(), "goes-on"))
}

// TestNobodyKnowsIt: a node that was removed, or whose directory is another
// cluster's, ends and says so.
func TestNobodyKnowsIt(t *testing.T) {
	for _, why := range []error{ErrRemoved, ErrForeign} {
		t.Run(why.Error(), func(t *testing.T) {
			g := three(t, LogStoreBolt, Limits{})
			away := "n3"
			if g.leader().cfg.ID == away {
				away = "n2"
			}
			g.stop(away)
			g.asked = func(from string) error {
				if from == away {
					return why
				}
				return nil
			}
			n := g.start(away, false, false)
			<-n.Done()
			if !errors.Is(n.Err(), why) {
				t.Errorf("it ended with %v", n.Err())
			}
		})
	}
}

// TestRestartWithoutOthers: a node that nobody answers waits, says what for, and
// takes part once a majority is there, whoever starts first.
func TestRestartWithoutOthers(t *testing.T) {
	g := three(t, LogStoreBolt, Limits{})
	g.must(g.put(g.leader(), "k"))
	for _, id := range []string{"n1", "n2", "n3"} {
		g.stop(id)
	}
	alone := g.start("n1", false, false)
	g.until("a word about the wait", func() bool { return g.log.holds("waiting for a majority") })
	select {
	case <-alone.Started():
		t.Fatal("it took part alone")
	default:
	}
	g.start("n2", false, false)
	g.must(g.get(g.leader(), "k"))
}

// TestReports: a proposal without accesses tells the leader a mark, which is in
// the next entry; one in another node's name is refused.
func TestReports(t *testing.T) {
	g := three(t, LogStoreBolt, Limits{})
	leader := g.leader()
	id := g.keys.ClusterID()
	report := func(from string, mark *fsmpb.Mark) error {
		data, err := proto.Marshal(&fsmpb.Proposal{Format: proposalFormat, ClusterId: id[:], Mark: mark})
		if err != nil {
			t.Fatal(err)
		}
		_, err = leader.HandlePropose(t.Context(), from, data)
		return err
	}
	for name, mark := range map[string]*fsmpb.Mark{"none": nil, "another's": {Node: "n1", Index: 1}} {
		if err := report("n2", mark); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	g.must(g.put(leader, "k"))
	want := leader.Store().AppliedIndex() - 1
	g.must(report("n2", &fsmpb.Mark{Node: "n2", Index: want, Term: 7}))
	g.must(report("n3", &fsmpb.Mark{Node: "n3", Index: 1 << 40, Term: 9})) // more than there is: not believed
	g.must(g.put(leader, "k"))
	if index, term := leader.Store().Mark("n2"); index < want || term < 7 {
		t.Errorf("mark of n2: %d in term %d", index, term)
	}
	if index, _ := leader.Store().Mark("n3"); index >= 1<<40 {
		t.Errorf("mark of n3: %d", index)
	}
}

// TestMarkIsWhatTheLogHolds: a follower whose store came by a snapshot that was
// made while the leader applied more reports no more than its log and snapshots
// hold: it would be refused at its next start for what it never had.
func TestMarkIsWhatTheLogHolds(t *testing.T) {
	g := three(t, LogStoreBolt, Limits{})
	g.must(g.put(g.leader(), "k"))
	n := g.follower()
	id := g.keys.ClusterID()
	data, err := proto.Marshal(&fsmpb.Entry{Format: entryFormat, Time: n.Store().Time(), ClusterId: id[:], Leader: "n1"})
	g.must(err)
	ahead := n.raft.Load().LastIndex() + 1000
	_, err = n.Store().Apply(ahead, n.raft.Load().CurrentTerm(), data, false)
	g.must(err)
	if got := n.Store().AppliedIndex(); got != ahead {
		t.Fatalf("the store stands at %d, not %d: the test shows nothing", got, ahead)
	}
	if m := n.mark(); m.GetIndex() > n.raft.Load().LastIndex() {
		t.Errorf("its mark is %d, its log ends at %d", m.GetIndex(), n.raft.Load().LastIndex())
	}
}
