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
