package check

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/jepsen/history"
)

const (
	// late is how long a node may hold a read before it decides it anew, with a row
	// of its own.
	late      = 3 * time.Second
	lateTries = 4
)

// Audit holds the rows against the operations: who was told a result has exactly
// one row that says the same, who was not has at most one that changed anything,
// and no row is of a call that nobody made.
func Audit(e *Evidence) Result {
	r := Result{Name: "audit", Checked: len(e.Rows)}
	ops := e.byTrace()
	rows := map[string][]*audit.Row{}
	for i := range e.Rows {
		row := &e.Rows[i]
		trace := hex.EncodeToString(row.TraceID[:])
		o := ops[trace]
		if o == nil {
			if strings.Contains(row.Caller, "/agent/") {
				r.problem("row %d (%s, %s) is of no call that an agent made", row.Index, row.Operation, row.Outcome)
			}
			continue
		}
		if row.Operation.String() != o.Kind || row.Caller != o.Caller || row.Path != o.Path {
			r.problem("row %d is not what %s asked for", row.Index, name(o))
		}
		rows[trace] = append(rows[trace], row)
	}
	for i := range e.Ops {
		accounted(&r, &e.Ops[i], rows[e.Ops[i].Trace])
	}
	return r
}

// accounted checks the rows of one operation.
func accounted(r *Result, o *history.Op, rows []*audit.Row) {
	count := map[string]int{}
	version := uint64(0)
	for _, row := range rows {
		count[row.Outcome.String()]++
		if row.Outcome == audit.Granted {
			version = row.Version
		}
		if row.Outcome == audit.Replayed && (count["granted"] == 0 || row.Version != version) {
			r.problem("%s: row %d is replayed, and is not of what was granted before", name(o), row.Index)
		}
	}
	most := mostRows(o)
	granted := count["granted"]
	switch {
	case granted > most:
		r.problem("%s has %d granted rows, at most %d are right", name(o), granted, most)
	case o.Outcome == history.OK && granted == 0:
		r.problem("%s was answered, and has no granted row", name(o))
	case o.Outcome == history.OK && o.Version != 0 && o.Mutation() && version != o.Version:
		r.problem("%s was answered with version %d, its row has %d", name(o), o.Version, version)
	case o.Outcome == history.OK && o.Kind == history.Get && !hasVersion(rows, o.Version):
		r.problem("%s was answered with version %d, and no row has that", name(o), o.Version)
	case o.Outcome == history.Refused && granted > 0 && (o.Mutation() || o.Once() && o.End-o.Start < late):
		r.problem("%s was refused for certain, and has a granted row", name(o))
	case o.Decided() && o.Outcome != history.OK:
		refused(r, o, count, most)
	}
}

// refused: the outcome that the client saw is in the audit, and nothing was
// granted, but to a read at a try before.
func refused(r *Result, o *history.Op, count map[string]int, most int) {
	want := string(o.Outcome)
	if o.Outcome == history.Conflict && count["conflict"] == 0 && count["gone"] > 0 {
		want = "gone"
	}
	switch {
	case count[want] == 0:
		r.problem("%s has no row that says so", name(o))
	case count[want] > most && o.Once():
		r.problem("%s has %d such rows, at most %d are right", name(o), count[want], most)
	case count["granted"] > 0 && o.Mutation():
		r.problem("%s has a granted row", name(o))
	}
}

// mostRows is how many granted rows an operation may have.
func mostRows(o *history.Op) int {
	switch {
	case o.Mutation():
		return 1
	case !o.Once():
		return 1 << 20 // one for each try that was answered, or whose answer was lost
	case o.End-o.Start >= late:
		return lateTries
	}
	return 1
}

func hasVersion(rows []*audit.Row, version uint64) bool {
	for _, row := range rows {
		if row.Outcome == audit.Granted && row.Version == version {
			return true
		}
	}
	return false
}
