package seal

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

const maxWrappedKey = 256

// ValueKeyID is the value key that a sealed value's data key is wrapped under;
// false for what is no sealed value. It does not look at the ciphertext.
func ValueKeyID(sealed []byte) (id uint32, ok bool) {
	fields(sealed, func(num protowire.Number, typ protowire.Type, value []byte) bool {
		if num != 2 || typ != protowire.BytesType {
			return true
		}
		wrapped, _ := protowire.ConsumeBytes(value)
		id, ok = sealedBy(wrapped)
		return false
	})
	return id, ok
}

// fields shows the fields of a message in their order, until one is the last to be
// seen, and reports whether they could all be.
func fields(message []byte, see func(num protowire.Number, typ protowire.Type, value []byte) (more bool)) bool {
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return false
		}
		message = message[n:]
		if n = protowire.ConsumeFieldValue(num, typ, message); n < 0 || !see(num, typ, message[:n]) {
			return false
		}
		message = message[n:]
	}
	return true
}

// Rewrap returns the data key of a sealed value, wrapped under the active value
// key. The value itself is not opened. ErrCorrupt, ErrNoKey, ErrFormat.
func (k *Keyring) Rewrap(c ValueContext, sealed []byte) ([]byte, error) {
	v, err := decodeValue(sealed)
	if err != nil {
		return nil, err
	}
	keys := k.valueKeys()
	dataKey, err := keys.open(v.wrapped, c.ad("hexrd data key"))
	if err != nil {
		return nil, err
	}
	defer clear(dataKey)
	wrapped, err := keys.Encrypt(dataKey, c.ad("hexrd data key"))
	if err != nil {
		return nil, fmt.Errorf("rewrap value: %w", err)
	}
	return wrapped, nil
}

// WithWrappedKey returns the sealed value with another wrapping of its data key,
// under that value key. The same input gives the same bytes for ever: it is part
// of the replicated state. ErrCorrupt where it does not fit.
func WithWrappedKey(sealed []byte, keyID uint32, wrapped []byte) ([]byte, error) {
	if id, ok := sealedBy(wrapped); !ok || id != keyID || len(wrapped) > maxWrappedKey {
		return nil, fmt.Errorf("%w: wrapped key", ErrCorrupt)
	}
	v, err := decodeValue(sealed)
	if err != nil {
		return nil, err
	}
	return encodeValue(wrapped, v.ciphertext), nil
}

// sealedValue is a sealpb.SealedValue, in the memory of what it was decoded from: a
// value is copied once less for each get.
type sealedValue struct{ wrapped, ciphertext []byte }

// decodeValue takes what protobuf takes.
func decodeValue(sealed []byte) (v sealedValue, err error) {
	if len(sealed) > MaxSealed {
		return v, ErrCorrupt
	}
	format := uint64(0)
	if !fields(sealed, func(num protowire.Number, typ protowire.Type, value []byte) bool {
		switch {
		case num == 1 && typ == protowire.VarintType:
			format, _ = protowire.ConsumeVarint(value)
		case num == 2 && typ == protowire.BytesType:
			v.wrapped, _ = protowire.ConsumeBytes(value)
		case num == 3 && typ == protowire.BytesType:
			v.ciphertext, _ = protowire.ConsumeBytes(value)
		}
		return num <= protowire.MaxValidNumber
	}) {
		return v, ErrCorrupt
	}
	if uint32(format) != valueFormat {
		return v, ErrFormat
	}
	return v, nil
}

// encodeValue writes sealpb.SealedValue in one fixed way.
func encodeValue(wrapped, ciphertext []byte) []byte {
	out := make([]byte, 0, len(wrapped)+len(ciphertext)+16)
	out = protowire.AppendTag(out, 1, protowire.VarintType)
	out = protowire.AppendVarint(out, valueFormat)
	out = protowire.AppendTag(out, 2, protowire.BytesType)
	out = protowire.AppendBytes(out, wrapped)
	out = protowire.AppendTag(out, 3, protowire.BytesType)
	return protowire.AppendBytes(out, ciphertext)
}
