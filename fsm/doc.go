// Package fsm is what hexrd means: callers, scopes, paths, secrets and their
// versions, accesses and their outcomes, the audit chain. Everything that
// decides an access is in the entry or in the replicated state: there is no
// clock, randomness, network or configuration here, and every node that applies
// the same entries holds the same state, bit for bit.
//
// DESIGN.md beside this file fixes the formats and the key layout.
package fsm

import "errors"

var (
	// ErrCaller: not a SPIFFE ID of one of the five classes.
	ErrCaller = errors.New("not an identity that hexrd knows")
	// ErrPath: not a secret's path.
	ErrPath = errors.New("not a valid path: 1 to 512 bytes of letters, digits, '.', '_', '-' and '/', with no empty, '.' or '..' segment")
	// ErrScope: not a scope, or none where one must be named.
	ErrScope = errors.New("not a valid scope: name a process of the agent, or a full scope such as spiffe://TRUST-DOMAIN/agent/TENANT/AGENT/*")
	// ErrPlace: see Place.
	ErrPlace = errors.New("not a cursor: use one that a watch gave")
	// ErrInvalidAccess: an access that must not reach the log.
	ErrInvalidAccess = errors.New("invalid access")
	// ErrUnknownFormat: the log or the store is of a format that this version
	// does not know. The node must stop: a newer hexrd is needed.
	ErrUnknownFormat = errors.New("unknown format: a newer hexrd wrote this")
	// ErrCorrupt: a row or an entry was altered, is out of place or does not decode.
	ErrCorrupt = errors.New("the store is corrupt")
	// ErrWrongCluster: an entry or a store is of another cluster.
	ErrWrongCluster = errors.New("this belongs to another cluster")
	// ErrDiverged: this node's audit tree is not the leader's.
	ErrDiverged = errors.New("this node's state has diverged from the leader's")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("the store is closed")
)
