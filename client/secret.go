package client

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

const redacted = "[redacted]"

// Value is the bytes of a secret. It prints as [redacted] under every verb and
// does not marshal; Reveal and Text are the only ways to its content.
type Value struct{ held *[]byte }

// NewValue holds b, not a copy.
func NewValue(b []byte) Value { return Value{&b} }

// Reveal returns the bytes.
func (v Value) Reveal() []byte {
	if v.held == nil {
		return nil
	}
	return *v.held
}

// Text returns the bytes as a string.
func (v Value) Text() string { return string(v.Reveal()) }

// Format prints [redacted].
func (v Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

func (v Value) String() string       { return redacted }
func (v Value) GoString() string     { return redacted }
func (v Value) LogValue() slog.Value { return slog.StringValue(redacted) }

var errMarshal = errors.New("a secret value does not marshal: use Reveal")

func (v Value) MarshalJSON() ([]byte, error)   { return nil, errMarshal }
func (v Value) MarshalText() ([]byte, error)   { return nil, errMarshal }
func (v Value) MarshalBinary() ([]byte, error) { return nil, errMarshal }
func (v Value) GobEncode() ([]byte, error)     { return nil, errMarshal }

// Secret is a version of a secret.
type Secret struct {
	Path      string
	Value     Value
	Version   uint64
	Scope     string
	Metadata  map[string]string
	CreatedAt time.Time
}

// Reveal returns the value's bytes.
func (s Secret) Reveal() []byte { return s.Value.Reveal() }

// Text returns the value as a string.
func (s Secret) Text() string { return s.Value.Text() }

// LogValue leaves out the path: a log must not tell what an agent holds.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
