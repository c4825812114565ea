package audit

import (
	"encoding/binary"
	"fmt"
	"math"
)

const (
	rowFormat   = 1
	tokenDigest = 32
)

// Limits of a row's fields, in bytes.
const (
	MaxNode   = 63
	MaxCaller = 2048
	MaxPath   = 512
	MaxScope  = 2048
	MaxPeer   = 64
	MaxDetail = 512
)

// Row is the record of one decided attempt. What is not a field here can't get
// into the audit.
type Row struct {
	Index       uint64
	Time        int64 // of the entry, unix nanoseconds
	Node        string
	Caller      string // SPIFFE ID
	SVID        SVIDKind
	TokenDigest []byte // SHA-256 of a JWT-SVID, or empty
	Operation   Operation
	Path        string
	Scope       string
	Outcome     Outcome
	Version     uint64
	Peer        string
	RequestID   [16]byte
	TraceID     [16]byte
	Detail      string // what an operation changed, e.g. a node ID or a setting
	Salt        [16]byte
}

// AppendRow appends the row's encoding: a format byte, then every field in the
// order of Row, big-endian, strings with a 16-bit length. It is canonical:
// equal rows have equal encodings, and DecodeRow accepts no other.
func AppendRow(dst []byte, r *Row) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	dst = append(dst, rowFormat)
	dst = binary.BigEndian.AppendUint64(dst, r.Index)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Time))
	dst = appendString(dst, r.Node)
	dst = appendString(dst, r.Caller)
	dst = append(dst, byte(r.SVID))
	dst = appendString(dst, string(r.TokenDigest))
	dst = append(dst, byte(r.Operation))
	dst = appendString(dst, r.Path)
	dst = appendString(dst, r.Scope)
	dst = append(dst, byte(r.Outcome))
	dst = binary.BigEndian.AppendUint64(dst, r.Version)
	dst = appendString(dst, r.Peer)
	dst = append(dst, r.RequestID[:]...)
	dst = append(dst, r.TraceID[:]...)
	dst = appendString(dst, r.Detail)
	return append(dst, r.Salt[:]...), nil
}

func appendString(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

func (r *Row) check() error {
	for _, f := range []struct {
		name string
		n    int
		max  int
	}{
		{"node", len(r.Node), MaxNode}, {"caller", len(r.Caller), MaxCaller}, {"path", len(r.Path), MaxPath},
		{"scope", len(r.Scope), MaxScope}, {"peer", len(r.Peer), MaxPeer}, {"detail", len(r.Detail), MaxDetail},
	} {
		if f.n > f.max {
			return fmt.Errorf("%w: %s is longer than %d bytes", ErrRow, f.name, f.max)
		}
	}
	switch {
	case r.Time < 0:
		return fmt.Errorf("%w: time before 1970", ErrRow)
	case !r.SVID.Valid() || !r.Operation.Valid() || !r.Outcome.Valid():
		return fmt.Errorf("%w: a number without meaning", ErrRow)
	case len(r.TokenDigest) != 0 && len(r.TokenDigest) != tokenDigest:
		return fmt.Errorf("%w: token digest", ErrRow)
	}
	return nil
}

// DecodeRow reads a row. It accepts exactly what AppendRow writes.
func DecodeRow(b []byte) (Row, error) {
	d := decoder{b: b}
	if f := d.byte(); d.bad || f == 0 {
		return Row{}, ErrRow
	} else if f != rowFormat {
		return Row{}, ErrRowFormat
	}
	var r Row
	r.Index = d.uint64()
	at := d.uint64()
	r.Node = d.string()
	r.Caller = d.string()
	r.SVID = SVIDKind(d.byte())
	r.TokenDigest = []byte(d.string())
	r.Operation = Operation(d.byte())
	r.Path = d.string()
	r.Scope = d.string()
	r.Outcome = Outcome(d.byte())
	r.Version = d.uint64()
	r.Peer = d.string()
	copy(r.RequestID[:], d.take(16))
	copy(r.TraceID[:], d.take(16))
	r.Detail = d.string()
	copy(r.Salt[:], d.take(16))
	if d.bad || len(d.b) != 0 || at > math.MaxInt64 {
		return Row{}, ErrRow
	}
	r.Time = int64(at)
	if len(r.TokenDigest) == 0 {
		r.TokenDigest = nil
	}
	return r, r.check()
}

// decoder takes fields off the front of b; bad once something was missing.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if len(d.b) < n {
		d.bad = true
		d.b = nil
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) string() string {
	b := d.take(2)
	if b == nil {
		return ""
	}
	return string(d.take(int(binary.BigEndian.Uint16(b))))
}
