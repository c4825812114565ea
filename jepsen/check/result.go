package check

import (
	"fmt"

	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/jepsen/history"
)

const maxProblems = 50 // that a result tells in words

// Result is what a checker found.
type Result struct {
	Name     string   `json:"name"`
	Checked  int      `json:"checked"` // operations, rows, or what else it says
	Problems []string `json:"problems,omitempty"`
	More     int      `json:"more,omitempty"` // problems beyond those
	Note     string   `json:"note,omitempty"`
}

// OK reports whether nothing was found.
func (r *Result) OK() bool { return len(r.Problems) == 0 }

func (r *Result) problem(format string, args ...any) {
	if len(r.Problems) >= maxProblems {
		r.More++
		return
	}
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

func name(o *history.Op) string {
	return fmt.Sprintf("op %d (%s %s, %s)", o.ID, o.Kind, o.Path, o.Outcome)
}

// Evidence is all that is known of a run.
type Evidence struct {
	Ops  []history.Op
	Rows []audit.Row // in their order
}

// byTrace finds an operation by the trace id of a row.
func (e *Evidence) byTrace() map[string]*history.Op {
	ops := make(map[string]*history.Op, len(e.Ops))
	for i := range e.Ops {
		ops[e.Ops[i].Trace] = &e.Ops[i]
	}
	return ops
}
