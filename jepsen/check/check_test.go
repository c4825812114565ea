package check

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/jepsen/history"
)

func TestNothingToFind(t *testing.T) {
	s := some()
	clean(t, All(&s.e, "")...)
}

// TestStaleRead: a get that returns what a put before it has replaced.
func TestStaleRead(t *testing.T) {
	s := newScribe()
	s.put("a", "old")
	s.put("a", "new")
	o := s.get("a")
	o.Got, o.Version = "old", 1
	dir := t.TempDir()
	finds(t, Register(&s.e, dir), "is no register")
	if pictures, err := filepath.Glob(filepath.Join(dir, "porcupine-*.html")); err != nil || len(pictures) != 1 {
		t.Errorf("%d pictures: %v", len(pictures), err)
	}
	finds(t, Audit(&s.e), "no row has that")
	s.e.Rows[2].Version = 1 // a node that reads without the log writes rows that agree with it
	clean(t, Audit(&s.e))
	finds(t, Replay(&s.e), "version 1")
}

// TestStaleReadWithAGoodRow: the version is right, the value is not.
func TestStaleReadWithAGoodRow(t *testing.T) {
	s := newScribe()
	s.put("a", "1")
	s.get("a").Got = "0"
	finds(t, Replay(&s.e), `read version 1 "0"`)
}

// TestOldSnapshot: rows in an order that no clock allows.
func TestOldSnapshot(t *testing.T) {
	s := newScribe()
	s.put("a", "1")
	s.put("a", "2")
	s.get("a")
	s.e.Rows[0], s.e.Rows[2] = s.e.Rows[2], s.e.Rows[0]
	finds(t, Order(&s.e), "began")
}

func TestLostWrite(t *testing.T) {
	s := newScribe()
	s.put("a", "1")
	put := s.put("a", "2")
	o := s.get("a")
	o.Got, o.Version = "1", 1
	s.e.Rows[2].Version = 1
	s.dropRow(put)
	finds(t, Register(&s.e, ""), "is no register")
	finds(t, Audit(&s.e), "has no granted row")
}

func TestLostDelete(t *testing.T) {
	s := newScribe()
	s.put("a", "1")
	s.do(history.Op{Kind: history.Delete, Path: "a"})
	o := s.get("a")
	o.Outcome, o.Got, o.Version = history.OK, "1", 1
	finds(t, Register(&s.e, ""), "is no register")
}

// TestAppliedTwice: a retried put has two granted rows, and two versions.
func TestAppliedTwice(t *testing.T) {
	s := newScribe()
	o := s.put("a", "1")
	s.row(o)
	s.e.Rows[1].Version = 2
	last := s.get("a")
	last.Version, s.e.Rows[2].Version = 2, 2
	finds(t, Audit(&s.e), "2 granted rows")
	finds(t, Register(&s.e, ""), "is no register")
}

// TestUnknownOutcome: it may have happened, at any time, or not; not twice.
func TestUnknownOutcome(t *testing.T) {
	for _, applied := range []bool{true, false} {
		s := newScribe()
		s.put("a", "1")
		o := s.put("a", "2")
		o.Outcome, o.Version = history.Unknown, 0
		if !applied {
			s.dropRow(o)
			s.state["a"] = s.state["b"]
			s.state["a"], _ = s.state["a"].Step(&s.e.Ops[0])
		}
		s.get("a")
		clean(t, Audit(&s.e), Register(&s.e, ""), Replay(&s.e), Order(&s.e))
		if applied {
			s.row(o)
			finds(t, Audit(&s.e), "2 granted rows")
		}
	}
}

// TestUnknownComesLate: an unknown put may show up after reads that did not see it.
func TestUnknownComesLate(t *testing.T) {
	s := newScribe()
	s.put("a", "1")
	s.get("a")
	s.put("a", "2")
	s.get("a")
	o := &s.e.Ops[2]
	o.Outcome, o.Version, o.Start, o.End = history.Unknown, 0, s.e.Ops[0].End+1, s.e.Ops[0].End+2
	clean(t, Register(&s.e, ""), Audit(&s.e), Order(&s.e), Replay(&s.e))
}

func TestReplayedRows(t *testing.T) {
	s := newScribe()
	o := s.put("a", "1")
	o.Replayed = true
	s.row(o)
	s.e.Rows[1].Outcome = audit.Replayed
	clean(t, Audit(&s.e))
	s.e.Rows = s.e.Rows[1:]
	finds(t, Audit(&s.e), "is not of what was granted before")
}

func TestMissingRow(t *testing.T) {
	for _, i := range []int{0, 3, 5} { // a miss, a get, a conflict
		s := some()
		s.dropRow(&s.e.Ops[i])
		if r := Audit(&s.e); r.OK() {
			t.Errorf("the row of %s is not missed", name(&s.e.Ops[i]))
		}
	}
}

func TestDuplicateRow(t *testing.T) {
	s := some()
	s.row(&s.e.Ops[3])
	finds(t, Audit(&s.e), "2 granted rows")
	s = some()
	s.row(&s.e.Ops[0])
	finds(t, Audit(&s.e), "2 such rows")
	s.e.Ops[0].Node = "" // tried again, each try has its row
	clean(t, Audit(&s.e))
	s = some()
	s.row(&s.e.Ops[3])
	s.e.Ops[3].End += 4 * time.Second // a late answer is decided anew
	clean(t, Audit(&s.e))
}

func TestRowOfNobody(t *testing.T) {
	s := some()
	s.e.Rows[4].TraceID[0] = 0xff
	finds(t, Audit(&s.e), "of no call")
	s = some()
	s.e.Rows[1].Path = "elsewhere"
	finds(t, Audit(&s.e), "is not what")
}

func TestRefusedYetApplied(t *testing.T) {
	s := newScribe()
	s.put("a", "1").Outcome = history.Refused
	finds(t, Audit(&s.e), "was refused for certain")
	s.e.Ops[0].Node = "" // with retries: it holds for all of them, however long they took
	s.e.Ops[0].End += 4 * time.Second
	finds(t, Audit(&s.e), "was refused for certain")
	s = newScribe()
	s.put("a", "1")
	s.get("a").Outcome = history.Refused
	finds(t, Audit(&s.e), "was refused for certain")
	s.e.Ops[1].Node = "" // a try before was granted
	clean(t, Audit(&s.e))
}

func TestLeakedScope(t *testing.T) {
	s := newScribe()
	s.put("a", "1")
	o := s.get("a")
	o.GotScope = "spiffe://td/agent/acme/bot/researcher"
	finds(t, Scope(&s.e), "was answered from")
	o.GotScope, o.Got = agentWide, "spiffe://td/agent/acme/other/*|1"
	finds(t, Scope(&s.e), "with a value that was put to")
	s.e.Ops = append(s.e.Ops, history.Op{Kind: history.List, Caller: agent, Outcome: history.OK, Items: []history.Item{
		{Path: "a", Scope: "spiffe://td/agent/globex/*"},
	}})
	s.e.Ops[1].Got, s.e.Ops[1].GotScope = "1", agentWide
	finds(t, Scope(&s.e), "shows a of")
	for _, fine := range []string{agent, agentWide, "spiffe://td/agent/acme/*"} {
		s.e.Ops[2].Items[0].Scope = fine
		clean(t, Scope(&s.e))
	}
}

func TestDeniedStaysDenied(t *testing.T) {
	s := some()
	s.e.Ops[3].Must = history.Denied
	finds(t, Answers(&s.e), "must be denied")
	s.e.Ops[3].Outcome = history.Unknown
	clean(t, Answers(&s.e))
	s.e.Ops[3].Reason = "INTERNAL"
	finds(t, Answers(&s.e), "ended with INTERNAL")
}

func TestSettled(t *testing.T) {
	e := &Evidence{}
	for i := range 100 {
		o := history.Op{Worker: history.LastWorker, Outcome: history.NotFound, Path: strconv.Itoa(i)}
		if i < 5 {
			o.Outcome = history.Unknown
		}
		e.Ops = append(e.Ops, o)
	}
	clean(t, Settled(e))
	e.Ops[10].Outcome = history.Refused
	finds(t, Settled(e), "94 of 100")
	again := e.Ops[10]
	again.Outcome = history.OK
	e.Ops = append(e.Ops, again)
	clean(t, Settled(e))
}

func TestLogs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	for text, right := range map[string]bool{
		`{"msg":"node runs"}`:  true,
		"panic: runtime error": false,
		"hexrd: this node's state has diverged: keep its disk": false,
	} {
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := Logs(map[string]string{"n1": file}, true); r.OK() != right {
			t.Errorf("%s: %v", text, r.Problems)
		}
	}
	stop := "panic: hexrd: the store's database reports a failure: look at the disk\n\ngoroutine 1 [running]:\n"
	for text, right := range map[string]bool{stop: true, stop + "goroutine 2 [running]:\n": false} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := Logs(map[string]string{"n1": file}, true); r.OK() != right {
			t.Errorf("with faults of disks: %v", r.Problems)
		}
		finds(t, Logs(map[string]string{"n1": file}, false), "panic")
	}
}

// TestOneValueChanged: whatever get of a history is made to return another value,
// both the replay and porcupine see it.
func TestOneValueChanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newScribe()
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		for i := range 40 {
			path := string(rune('a' + r.IntN(3)))
			switch r.IntN(5) {
			case 0, 1:
				s.put(path, strings.Repeat("v", i+1))
			case 2:
				s.do(history.Op{Kind: history.Delete, Path: path})
			case 3:
				s.do(history.Op{Kind: history.Undelete, Path: path})
			default:
				s.get(path)
			}
		}
		for _, res := range All(&s.e, "") {
			if !res.OK() {
				t.Fatalf("%s: %v", res.Name, res.Problems)
			}
		}
		for i := range s.e.Ops {
			if o := &s.e.Ops[i]; o.Kind == history.Get && o.Outcome == history.OK {
				o.Got += "x"
				if a, b := Register(&s.e, ""), Replay(&s.e); a.OK() || b.OK() {
					t.Fatalf("%s: not seen", name(o))
				}
				return
			}
		}
	})
}
