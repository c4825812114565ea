package check

import (
	"encoding/hex"
	"time"

	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/jepsen/history"
)

// Order holds the rows' order against the clock of the clients: an access whose
// row stands behind another's must not have ended before that one began.
func Order(e *Evidence) Result {
	r := Result{Name: "order"}
	ops := e.byTrace()
	decisive := decisiveRows(e, ops)
	var newest *history.Op // that began last, of the rows so far
	for i := range e.Rows {
		o := ops[hex.EncodeToString(e.Rows[i].TraceID[:])]
		if o == nil {
			continue
		}
		if decisive[o.Trace] == e.Rows[i].Index && o.Decided() {
			r.Checked++
			if newest != nil && newest.Start > o.End {
				r.problem("row %d of %s stands behind one of %s, which began %s after it had ended",
					e.Rows[i].Index, name(o), name(newest), (newest.Start - o.End).Round(time.Microsecond))
			}
		}
		if newest == nil || o.Start > newest.Start {
			newest = o
		}
	}
	return r
}

const noRow = ^uint64(0)

// decisiveRows is the row of each operation that its answer came from, where that
// is only one.
func decisiveRows(e *Evidence, ops map[string]*history.Op) map[string]uint64 {
	out := map[string]uint64{}
	for i := range e.Rows {
		row := &e.Rows[i]
		trace := hex.EncodeToString(row.TraceID[:])
		o := ops[trace]
		if o == nil || row.Outcome.String() != rowOutcome(o) {
			continue
		}
		if _, another := out[trace]; another {
			out[trace] = noRow
			continue
		}
		out[trace] = row.Index
	}
	return out
}

// rowOutcome is how the audit names what the client saw.
func rowOutcome(o *history.Op) string {
	if o.Outcome == history.OK {
		return audit.Granted.String()
	}
	return string(o.Outcome)
}
