// Package audit holds the audit row, its hash tree, proofs, checkpoints and
// their verification. It is usable alone by an auditor, who needs nothing of a
// node but rows and roots.
package audit

import "errors"

var (
	// ErrRow: the bytes are not the canonical encoding of a row.
	ErrRow = errors.New("not a valid audit row")
	// ErrRowFormat: a row of a format that this version does not know.
	ErrRowFormat = errors.New("audit row has an unknown format: a newer hexrd wrote it")
	// ErrMismatch: a hash, root or proof is not what it should be.
	ErrMismatch = errors.New("audit tree does not match")
	// ErrCheckpoint: the text is no checkpoint, or not signed as required.
	ErrCheckpoint = errors.New("not a valid checkpoint")
)
