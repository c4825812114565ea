package check

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/jepsen/history"
	"github.com/hexrdev/hexrd/jepsen/model"
)

const (
	agent     = "spiffe://td/agent/acme/bot/main"
	agentWide = "spiffe://td/agent/acme/bot/*"
)

// scribe writes histories and the rows that belong to them, as a cluster without
// faults would.
type scribe struct {
	e     Evidence
	now   time.Duration
	state map[string]model.Secret
}

func newScribe() *scribe { return &scribe{state: map[string]model.Secret{}} }

// do performs an operation on the model, one after the other.
func (s *scribe) do(o history.Op) *history.Op {
	s.now += 10 * time.Millisecond
	n := len(s.e.Ops)
	if o.Caller == "" {
		o.Caller = agent
	}
	if o.Workload == "" {
		o.Workload, o.Node = "register", "n1"
	}
	o.ID, o.Trace, o.Start, o.End = n, fmt.Sprintf("%032x", n+1), s.now, s.now+5*time.Millisecond
	before := s.state[o.Path]
	after, outcome := step(before, &o)
	o.Outcome = outcome
	if outcome == history.OK {
		o.Version, o.GotScope = after.Version, agentWide
		s.state[o.Path] = after
		if o.Kind == history.Get {
			o.Got = after.Value
		}
	}
	s.e.Ops = append(s.e.Ops, o)
	s.row(&s.e.Ops[n])
	return &s.e.Ops[n]
}

// step finds the outcome that the model takes.
func step(before model.Secret, o *history.Op) (model.Secret, history.Outcome) {
	for _, outcome := range []history.Outcome{history.OK, history.NotFound, history.Conflict} {
		try := *o
		try.Outcome = outcome
		if outcome == history.OK {
			probe := *o
			probe.Outcome = history.Unknown
			next, _ := before.Step(&probe)
			try.Version, try.Got = next.Version, next.Value
		}
		if next, ok := before.Step(&try); ok {
			return next, outcome
		}
	}
	panic("the model takes no outcome")
}

// row appends the row of an operation.
func (s *scribe) row(o *history.Op) {
	row := audit.Row{Index: uint64(len(s.e.Rows)), Caller: o.Caller, Path: o.Path, Scope: o.FullScope(), Version: o.Version, Outcome: audit.Granted}
	var err error
	if row.Operation, err = audit.ParseOperation(o.Kind); err != nil {
		panic(err)
	}
	if o.Decided() && o.Outcome != history.OK {
		if row.Outcome, err = audit.ParseOutcome(string(o.Outcome)); err != nil {
			panic(err)
		}
	}
	id, err := hex.DecodeString(o.Trace)
	if err != nil {
		panic(err)
	}
	copy(row.TraceID[:], id)
	s.e.Rows = append(s.e.Rows, row)
}

func (s *scribe) put(path, value string) *history.Op {
	return s.do(history.Op{Kind: history.Put, Path: path, Value: value})
}

func (s *scribe) get(path string) *history.Op { return s.do(history.Op{Kind: history.Get, Path: path}) }

// some is a history with all that the register workload does.
func some() *scribe {
	s := newScribe()
	s.get("a")
	s.put("a", "1")
	s.put("b", "2")
	s.get("a")
	expected := uint64(1)
	s.do(history.Op{Kind: history.Put, Path: "a", Value: "3", Expected: &expected})
	s.do(history.Op{Kind: history.Put, Path: "a", Value: "4", Expected: &expected})
	s.do(history.Op{Kind: history.Delete, Path: "a"})
	s.get("a")
	s.do(history.Op{Kind: history.Undelete, Path: "a"})
	s.get("a")
	s.get("b")
	return s
}

func (s *scribe) dropRow(o *history.Op) {
	for i := range s.e.Rows {
		if hex.EncodeToString(s.e.Rows[i].TraceID[:]) == o.Trace {
			s.e.Rows = append(s.e.Rows[:i], s.e.Rows[i+1:]...)
			return
		}
	}
	panic("it has no row")
}

func clean(t *testing.T, results ...Result) {
	t.Helper()
	for _, r := range results {
		if !r.OK() {
			t.Errorf("%s finds, in what is right: %s", r.Name, strings.Join(r.Problems, "; "))
		}
	}
}

func finds(t *testing.T, r Result, what string) {
	t.Helper()
	if r.OK() || !strings.Contains(strings.Join(r.Problems, "; "), what) {
		t.Errorf("%s does not find %q: %q", r.Name, what, r.Problems)
	}
}
