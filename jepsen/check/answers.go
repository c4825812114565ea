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

// settledShare of what is read when all nodes are healthy again must be answered.
const settledShare = 0.95

// Settled looks at the reads after all faults were taken back, each of which is
// tried some times.
func Settled(e *Evidence) Result {
	r := Result{Name: "settled"}
	answered := map[string]bool{}
	for i := range e.Ops {
		if o := &e.Ops[i]; o.Worker == history.LastWorker {
			what := o.Kind + " " + o.Path + " at " + o.Node
			answered[what] = answered[what] || o.Decided()
		}
	}
	decided := 0
	for _, ok := range answered {
		if r.Checked++; ok {
			decided++
		}
	}
	if float64(decided) < settledShare*float64(r.Checked) {
		r.problem("%d of %d reads at healthy nodes were answered", decided, r.Checked)
	}
	return r
}
