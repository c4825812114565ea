package seal

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Plaintext is a secret's value in memory. It prints as [redacted] under every
// verb, does not marshal, and compares in constant time. Copies share the bytes.
// The zero value is empty.
type Plaintext struct{ box *box }

type box struct{ bytes []byte }

// NewPlaintext takes ownership of b.
func NewPlaintext(b []byte) Plaintext { return Plaintext{&box{b}} }

// Reveal returns the bytes themselves, not a copy.
func (p Plaintext) Reveal() []byte {
	if p.box == nil {
		return nil
	}
	return p.box.bytes
}

// Len is the length in bytes.
func (p Plaintext) Len() int { return len(p.Reveal()) }

// Equal compares in constant time for equal lengths.
func (p Plaintext) Equal(o Plaintext) bool {
	return subtle.ConstantTimeCompare(p.Reveal(), o.Reveal()) == 1
}

// Wipe overwrites the bytes, also those of copies. The Go runtime may hold
// others.
func (p Plaintext) Wipe() { clear(p.Reveal()) }

// Format prints [redacted] whatever the verb.
func (p Plaintext) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

func (p Plaintext) String() string       { return redacted }
func (p Plaintext) GoString() string     { return redacted }
func (p Plaintext) LogValue() slog.Value { return slog.StringValue(redacted) }

var errMarshal = errors.New("a plaintext does not marshal")

func (p Plaintext) MarshalJSON() ([]byte, error)   { return nil, errMarshal }
func (p Plaintext) MarshalText() ([]byte, error)   { return nil, errMarshal }
func (p Plaintext) MarshalBinary() ([]byte, error) { return nil, errMarshal }
func (p Plaintext) GobEncode() ([]byte, error)     { return nil, errMarshal }
