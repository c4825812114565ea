// Package history is what clients did and what they saw: one Op for each call,
// kept in memory for the checkers and as JSON lines for people.
package history

import (
	"strings"
	"time"
)

// Outcome is what a client saw of a call.
type Outcome string

// Outcomes. All but Unknown and Refused are decided: they have an audit row.
const (
	OK       Outcome = "ok"
	NotFound Outcome = "not_found"
	Denied   Outcome = "denied"
	Conflict Outcome = "conflict"
	Gone     Outcome = "gone"
	Shadowed Outcome = "shadowed"
	Unknown  Outcome = "unknown" // it may have been applied, or may be yet
	Refused  Outcome = "refused" // for certain without effect, and without a row that says more
)

// Kinds of operations, as the audit names them.
const (
	Get      = "get"
	Put      = "put"
	Delete   = "delete"
	Undelete = "undelete"
	List     = "list"
	Versions = "versions"
)

// LastWorker is who reads everything once more, when all is well again.
const LastWorker = 999

// Op is one call of a client. Times are since the run began.
type Op struct {
	ID       int     `json:"id"`
	Workload string  `json:"workload"`
	Worker   int     `json:"worker"`
	Kind     string  `json:"kind"`
	Node     string  `json:"node,omitempty"` // that was asked; empty: any, with retries
	Caller   string  `json:"caller"`         // SPIFFE ID
	Path     string  `json:"path"`
	Scope    string  `json:"scope,omitempty"`    // as it was given
	Value    string  `json:"value,omitempty"`    // that a put writes; each value is written once
	Expected *uint64 `json:"expected,omitempty"` // of a put
	Asked    uint64  `json:"asked,omitempty"`    // version of a get; 0: the latest
	Trace    string  `json:"trace"`              // hexadecimal; all rows of the call have it
	Must     Outcome `json:"must,omitempty"`     // the only decided outcome that is right; empty: see the checkers

	Start   time.Duration `json:"start"`
	End     time.Duration `json:"end"`
	Outcome Outcome       `json:"outcome"`
	Reason  string        `json:"reason,omitempty"`

	// What an answer says.
	Got      string `json:"got,omitempty"`       // value
	Version  uint64 `json:"version,omitempty"`   // read or written
	GotScope string `json:"got_scope,omitempty"` // full
	Replayed bool   `json:"replayed,omitempty"`
	Items    []Item `json:"items,omitempty"` // of a list, or versions
}

// Item is one of a list, or a version.
type Item struct {
	Path    string `json:"path,omitempty"`
	Scope   string `json:"scope,omitempty"`
	Version uint64 `json:"version"`
	Current bool   `json:"current,omitempty"`
	Hidden  bool   `json:"hidden,omitempty"` // deleted or destroyed
}

// FullScope is where the call was answered from, or where it is to go: a write
// without a scope to the agent's.
func (o *Op) FullScope() string {
	switch {
	case o.GotScope != "":
		return o.GotScope
	case strings.HasPrefix(o.Scope, "spiffe://"):
		return o.Scope
	}
	agent := o.Caller[:strings.LastIndexByte(o.Caller, '/')+1]
	if o.Scope != "" {
		return agent + o.Scope
	}
	return agent + "*"
}

// Once: the call was one attempt at one node, so that it has one row at most for
// each time that the node decided it.
func (o *Op) Once() bool { return o.Node != "" }

// Decided: the client knows what became of the call.
func (o *Op) Decided() bool { return o.Outcome != Unknown && o.Outcome != Refused }

// Mutation: the call may have changed something.
func (o *Op) Mutation() bool { return o.Kind == Put || o.Kind == Delete || o.Kind == Undelete }
