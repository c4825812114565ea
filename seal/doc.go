// Package seal holds the keys: the keyring, envelope encryption of values,
// sealing of everything that hexrd stores, opaque index keys, the wrappers that
// protect the keyring at rest, and Plaintext, the one type that values live in.
//
// DESIGN.md beside this file says which key protects what, and why.
package seal

import (
	"errors"
	"fmt"
)

var (
	// ErrCorrupt: what was to be opened was altered, or belongs elsewhere (another
	// cluster, record, row or request).
	ErrCorrupt = errors.New("sealed data is corrupt or out of its place")
	// ErrNoKey: it was sealed with a key that this keyring lacks. It is ErrCorrupt,
	// too: nobody can tell it from what was altered.
	ErrNoKey = fmt.Errorf("%w, or sealed with a key that is not in the keyring", ErrCorrupt)
	// ErrFormat: it has a format that this version does not know.
	ErrFormat = errors.New("sealed data has an unknown format: a newer hexrd wrote it")
	// ErrTooLarge: the plaintext is beyond what is sealed at once.
	ErrTooLarge = errors.New("too large to seal")
	// ErrWrongWrapper: the wrapper's key does not open this keyring.
	ErrWrongWrapper = errors.New("the wrapper does not open this: is it the wrapper key that this was made with?")
	// ErrWrongCluster: a keyring is of another cluster.
	ErrWrongCluster = errors.New("the keyring is of another cluster")
)
