package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

const (
	valueFormat = 1
	dataKeySize = 32

	// MaxValue is the most that is sealed as one value, in bytes.
	MaxValue = 1 << 20
	// MaxSealed bounds a sealed value: the value, its wrapped key and the framing.
	MaxSealed = MaxValue + 1024
)

// ValueContext is where a value belongs. A sealed value opens in no other.
type ValueContext struct {
	Cluster   [16]byte
	Record    []byte // the record's opaque key
	RequestID [16]byte
}

// ad is the associated data: a purpose, the format, and each field with its length.
func (c ValueContext) ad(purpose string) []byte {
	ad := make([]byte, 0, len(purpose)+1+len(c.Cluster)+4+len(c.Record)+len(c.RequestID))
	ad = append(append(ad, purpose...), valueFormat)
	ad = append(ad, c.Cluster[:]...)
	ad = binary.BigEndian.AppendUint32(ad, uint32(len(c.Record)))
	ad = append(ad, c.Record...)
	return append(ad, c.RequestID[:]...)
}

// SealValue seals a value under a fresh 256-bit data key, and that under the
// active value key. The value is never compressed.
func (k *Keyring) SealValue(c ValueContext, value Plaintext) ([]byte, error) {
	if value.Len() > MaxValue {
		return nil, ErrTooLarge
	}
	dataKey := make([]byte, dataKeySize)
	defer clear(dataKey)
	if _, err := rand.Read(dataKey); err != nil {
		return nil, fmt.Errorf("seal value: %w", err)
	}
	box, err := dataCipher(dataKey)
	if err != nil {
		return nil, fmt.Errorf("seal value: %w", err)
	}
	wrapped, err := k.valueKeys().Encrypt(dataKey, c.ad("hexrd data key"))
	if err != nil {
		return nil, fmt.Errorf("seal value: %w", err)
	}
	return encodeValue(wrapped, box.Seal(nil, nil, value.Reveal(), c.ad("hexrd value"))), nil
}

// OpenValue opens what SealValue made in the same context, or returns
// ErrCorrupt (ErrNoKey), or ErrFormat.
func (k *Keyring) OpenValue(c ValueContext, sealed []byte) (Plaintext, error) {
	v, err := decodeValue(sealed)
	if err != nil {
		return Plaintext{}, err
	}
	dataKey, err := k.valueKeys().open(v.wrapped, c.ad("hexrd data key"))
	if err != nil {
		return Plaintext{}, err
	}
	if len(dataKey) != dataKeySize {
		return Plaintext{}, ErrCorrupt
	}
	defer clear(dataKey)
	box, err := dataCipher(dataKey)
	if err != nil {
		return Plaintext{}, ErrCorrupt
	}
	value, err := box.Open(nil, nil, v.ciphertext, c.ad("hexrd value"))
	if err != nil {
		return Plaintext{}, ErrCorrupt
	}
	return NewPlaintext(value), nil
}

// dataCipher is AES-256-GCM with the nonce before the ciphertext. A data key
// seals one message, so a random 96-bit nonce is safe.
func dataCipher(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Digest names a sealed value: the answering node compares it with the one that
// the log decided on.
func Digest(sealed []byte) [sha256.Size]byte { return sha256.Sum256(sealed) }
