package check

import (
	"encoding/hex"

	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/jepsen/history"
	"github.com/hexrdev/hexrd/jepsen/model"
)

// Replay takes the audit's word for the order in which everything happened, does
// it again on the model, and compares each row's outcome and each client's answer.
// Together with Order that shows the whole history linearizable, whatever its
// size.
func Replay(e *Evidence) Result {
	r := Result{Name: "replay"}
	p := replay{result: &r, secrets: map[string]model.Secret{}, answered: map[string]bool{}, wrong: map[string]model.Secret{}}
	ops := e.byTrace()
	for i := range e.Rows {
		if o := ops[hex.EncodeToString(e.Rows[i].TraceID[:])]; o != nil && replayable(o, &e.Rows[i]) {
			r.Checked++
			p.row(o, &e.Rows[i])
		}
	}
	for trace, state := range p.wrong {
		if !p.answered[trace] {
			o := ops[trace]
			r.problem("%s read version %d %q; at its row the secret is %s", name(o), o.Version, o.Got, state)
		}
	}
	return r
}

// replayable: the row's outcome follows from the state of one secret.
func replayable(o *history.Op, row *audit.Row) bool {
	switch row.Outcome {
	case audit.Granted, audit.Conflict:
	case audit.NotFound: // of several scopes no row says which were looked at
		if o.Kind == history.Get && o.Workload != "register" {
			return false
		}
	default:
		return false
	}
	return o.Mutation() || o.Kind == history.Get && o.Asked == 0
}

type replay struct {
	result   *Result
	secrets  map[string]model.Secret
	answered map[string]bool         // gets that one of their rows explains
	wrong    map[string]model.Secret // gets that one of their rows does not, and what was there
}

func (p *replay) row(o *history.Op, row *audit.Row) {
	scope := row.Scope
	if scope == "" {
		scope = o.FullScope()
	}
	key := scope + " " + o.Path
	before := p.secrets[key]
	did := *o
	did.Version, did.Outcome = row.Version, history.OK
	if row.Outcome != audit.Granted {
		did.Outcome = history.Outcome(row.Outcome.String())
	}
	if o.Kind == history.Get { // a row has no value: what the client got is looked at below
		did.Got = before.Value
	}
	after, ok := before.Step(&did)
	if !ok {
		p.result.problem("row %d says %s, version %d, of %s; the secret is %s", row.Index, row.Outcome, row.Version, name(o), before)
	}
	if row.Outcome == audit.Granted {
		p.secrets[key] = after
	}
	if o.Kind != history.Get || o.Outcome != history.OK || row.Outcome != audit.Granted {
		return
	}
	if o.Got == before.Value && o.Version == before.Version {
		p.answered[o.Trace] = true
	} else {
		p.wrong[o.Trace] = before
	}
}
