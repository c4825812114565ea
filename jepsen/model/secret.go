// Package model says what a secret is to its clients, for porcupine and for the
// replay of audit rows: both use the same step.
package model

import (
	"fmt"

	"github.com/hexrdev/hexrd/jepsen/history"
)

// Secret is the state of one path in one scope. The zero value is a secret that
// was never put.
type Secret struct {
	Version uint64 // the latest
	Value   string // of the latest version
	Deleted bool
}

// Live: a get is answered.
func (s Secret) Live() bool { return s.Version > 0 && !s.Deleted }

// Step is what an operation does to the secret, and whether what its client saw
// is right. What it saw of an unknown one is nothing.
func (s Secret) Step(o *history.Op) (Secret, bool) {
	next, outcome := s.apply(o)
	if !o.Decided() {
		return next, true
	}
	if o.Outcome != outcome {
		return next, false
	}
	if outcome != history.OK {
		return next, true
	}
	switch o.Kind {
	case history.Get:
		return next, o.Got == next.Value && o.Version == next.Version
	default:
		return next, o.Version == next.Version
	}
}

// apply is what the operation does, and what its client is to see.
func (s Secret) apply(o *history.Op) (Secret, history.Outcome) {
	switch o.Kind {
	case history.Get:
		if !s.Live() {
			return s, history.NotFound
		}
	case history.Put:
		if o.Expected != nil && *o.Expected != s.current() {
			return s, history.Conflict
		}
		return Secret{Version: s.Version + 1, Value: o.Value}, history.OK
	case history.Delete:
		if !s.Live() {
			return s, history.NotFound
		}
		s.Deleted = true
	case history.Undelete:
		switch {
		case s.Version == 0:
			return s, history.NotFound
		case !s.Deleted:
			return s, history.Conflict
		}
		s.Deleted = false
	}
	return s, history.OK
}

// current is the version that a put compares with: none where there is no live
// one.
func (s Secret) current() uint64 {
	if s.Live() {
		return s.Version
	}
	return 0
}

func (s Secret) String() string {
	switch {
	case s.Version == 0:
		return "none"
	case s.Deleted:
		return fmt.Sprintf("v%d deleted", s.Version)
	}
	return fmt.Sprintf("v%d %s", s.Version, s.Value)
}
