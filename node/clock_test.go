package node

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	for _, c := range []struct {
		offsets  []int64 // of the others, in seconds
		majority int
		want     error
	}{
		{nil, 1, nil},
		{nil, 2, errUnheard},
		{[]int64{0}, 3, errUnheard},
		{[]int64{1, 2}, 2, nil},
		{[]int64{100}, 2, nil}, // of two, the one behind stamps
		{[]int64{-100}, 2, errClock},
		{[]int64{100, 100}, 2, errClock},
		{[]int64{-100, -101}, 2, errClock},
		{[]int64{100, 0}, 2, nil},
		{[]int64{-100, 0}, 2, nil},
		{[]int64{100, 100, 0, 0}, 3, nil},
		{[]int64{9, 9, 9, 0}, 3, errClock},
	} {
		k := newClock(time.Now)
		for i, o := range c.offsets {
			k.heard(fmt.Sprint(i), time.Now().Add(time.Duration(o)*time.Second).UnixNano())
		}
		if err := k.check(c.majority); !errors.Is(err, c.want) {
			t.Errorf("%v of %d: %v", c.offsets, c.majority, err)
		}
	}
}

// TestClockJumps: what others said stays true when this node's clock jumps.
func TestClockJumps(t *testing.T) {
	var off time.Duration
	k := newClock(func() time.Time { return time.Now().Add(off) })
	k.heard("a", time.Now().UnixNano())
	k.heard("b", time.Now().UnixNano())
	if err := k.check(2); err != nil {
		t.Fatal(err)
	}
	for _, off = range []time.Duration{time.Minute, -time.Minute} {
		if err := k.check(2); !errors.Is(err, errClock) {
			t.Errorf("a jump by %s: %v", off, err)
		}
	}
}

const tenYears = 10 * 365 * 24 * time.Hour

// TestLeaderWithAWrongClock: its clock jumps while it leads, or was wrong before
// it led, ahead or behind. Nothing it says reaches the log, and another node
// leads.
func TestLeaderWithAWrongClock(t *testing.T) {
	for _, off := range []time.Duration{tenYears, -tenYears} {
		t.Run(off.String(), func(t *testing.T) {
			g := three(t, LogStoreBolt, Limits{})
			g.must(g.put(g.leader(), "k"))
			wrong := g.leader()
			g.shift(off, wrong.cfg.ID)
			for i := range 6 { // through every node
				g.must(g.put(g.node(fmt.Sprintf("n%d", i%3+1)), fmt.Sprint("k", i)))
			}
			if id := g.leader().cfg.ID; id == wrong.cfg.ID {
				t.Errorf("%s still leads", id)
			}
			g.must(wrong.cfg.Forward.(link).transferTo(t, wrong.cfg.ID)) // elected with a wrong clock
			for i := range 3 {
				g.must(g.put(g.node(fmt.Sprintf("n%d", i%3+1)), fmt.Sprint("again", i)))
			}
			if at := time.Unix(0, g.leader().Store().Time()); time.Since(at).Abs() > time.Minute {
				t.Errorf("the time in the log is %s", at)
			}
		})
	}
}

// transferTo makes a node lead.
func (l link) transferTo(t *testing.T, id string) error {
	err := l.leader().Transfer(t.Context(), id)
	if errors.Is(err, ErrUnknownOutcome) { // it took over, and handed on already
		return nil
	}
	return err
}

// TestTwoClocksDisagree: with one of three nodes away nobody can tell who is
// right. Time must not jump ahead.
func TestTwoClocksDisagree(t *testing.T) {
	g := three(t, LogStoreBolt, Limits{})
	leader := g.leader()
	g.must(g.put(leader, "k"))
	for _, id := range []string{"n1", "n2", "n3"} {
		if id != leader.cfg.ID {
			g.stop(id)
			break
		}
	}
	g.shift(tenYears, leader.cfg.ID)
	g.must(g.put(leader, "k2"))
	if at := time.Unix(0, g.leader().Store().Time()); time.Since(at).Abs() > time.Minute {
		t.Errorf("the time in the log is %s", at)
	}
}
