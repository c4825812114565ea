package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
)

// EphemeralOverhead is how much longer than its plaintext a sealed one is.
const EphemeralOverhead = gcmTagSize

// ErrEphemeral is what Open returns for what was sealed with another key, for another
// place or other associated data, or was altered.
var ErrEphemeral = errors.New("it does not open in its place")

// Ephemeral seals what this process alone reads again: its key (AES-256-GCM) is random,
// lies in memory only, and goes with it. What it sealed is then noise, also for who has
// the keyring. Safe for concurrent use.
type Ephemeral struct{ gcm cipher.AEAD }

// NewEphemeral makes a key.
func NewEphemeral() (*Ephemeral, error) {
	var key [2 * aes.BlockSize]byte
	defer clear(key[:])
	if _, err := rand.Read(key[:]); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	gcm, err := newGCM(key[:])
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return &Ephemeral{gcm}, nil
}

// Seal appends what is sealed to dst. A place is the nonce: nothing else may ever be
// sealed for it.
func (e *Ephemeral) Seal(dst []byte, place uint64, ad, plaintext []byte) []byte {
	nonce := placeNonce(place)
	return e.gcm.Seal(dst, nonce[:], plaintext, ad)
}

// Open opens what was sealed for that place, in its own memory.
func (e *Ephemeral) Open(sealed []byte, place uint64, ad []byte) ([]byte, error) {
	nonce := placeNonce(place)
	plaintext, err := e.gcm.Open(sealed[:0], nonce[:], sealed, ad)
	if err != nil {
		return nil, ErrEphemeral
	}
	return plaintext, nil
}

func placeNonce(place uint64) (nonce [gcmNonceSize]byte) {
	binary.BigEndian.PutUint64(nonce[gcmNonceSize-8:], place)
	return nonce
}
