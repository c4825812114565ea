package check

import (
	"slices"
	"strings"

	"github.com/hexrdev/hexrd/jepsen/history"
)

// Scope looks for answers that left their scope: an agent sees its process's, its
// agent's and its tenant's, and a value is where it was put.
func Scope(e *Evidence) Result {
	r := Result{Name: "scope"}
	for i := range e.Ops {
		o := &e.Ops[i]
		if o.Outcome != history.OK {
			continue
		}
		may := readable(o.Caller)
		switch o.Kind {
		case history.Get:
			r.Checked++
			if !slices.Contains(may, o.GotScope) {
				r.problem("%s by %s was answered from %s", name(o), o.Caller, o.GotScope)
			}
			if written, _, ok := strings.Cut(o.Got, "|"); ok && written != o.GotScope {
				r.problem("%s was answered from %s with a value that was put to %s", name(o), o.GotScope, written)
			}
		case history.List:
			r.Checked++
			for _, item := range o.Items {
				if !slices.Contains(may, item.Scope) {
					r.problem("%s by %s shows %s of %s", name(o), o.Caller, item.Path, item.Scope)
				}
			}
		}
	}
	return r
}

// readable are the scopes that an agent's process reads; none for others.
func readable(caller string) []string {
	id, ok := strings.CutPrefix(caller, "spiffe://")
	parts := strings.Split(id, "/")
	if !ok || len(parts) != 5 || parts[1] != "agent" {
		return nil
	}
	tenant := "spiffe://" + parts[0] + "/agent/" + parts[2]
	return []string{caller, tenant + "/" + parts[3] + "/*", tenant + "/*"}
}
