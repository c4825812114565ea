package check

import (
	"strings"

	"github.com/hexrdev/hexrd/jepsen/history"
)

// strange are reasons that no fault of a network, a process or a clock explains.
var strange = map[string]bool{
	"INTERNAL": true, "CORRUPT": true, "REQUEST_ID_REUSED": true, "WRONG_CLASS": true, "UNKNOWN_METHOD": true, "INVALID_ARGUMENT": true,
}

// Answers looks for answers that must not be given, and for ones that are not what
// their caller must get.
func Answers(e *Evidence) Result {
	r := Result{Name: "answers", Checked: len(e.Ops)}
	for i := range e.Ops {
		o := &e.Ops[i]
		switch {
		case strange[reason(o)]:
			r.problem("%s ended with %s", name(o), o.Reason)
		case o.Must != "" && o.Decided() && o.Outcome != o.Must:
			r.problem("%s by %s must be %s", name(o), o.Caller, o.Must)
		}
	}
	return r
}

// reason is the stable part of what the answer said.
func reason(o *history.Op) string {
	stable, _, _ := strings.Cut(o.Reason, ":")
	return stable
}

// settledShare of the calls that are made when all nodes are healthy again must be
// answered.
const settledShare = 0.95

// Settled looks at the calls after all faults were taken back.
func Settled(e *Evidence) Result {
	r := Result{Name: "settled"}
	decided := 0
	for i := range e.Ops {
		if e.Ops[i].Worker != history.LastWorker {
			continue
		}
		r.Checked++
		if e.Ops[i].Decided() {
			decided++
		}
	}
	if float64(decided) < settledShare*float64(r.Checked) {
		r.problem("%d of %d calls to healthy nodes were answered", decided, r.Checked)
	}
	return r
}
