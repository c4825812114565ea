package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
)

// XAES-256-GCM (https://c2sp.org/XAES-256-GCM): the first half of a nonce, which
// Tink calls the salt, makes the AES-GCM key, the second half is that key's nonce.
const (
	saltSize     = 12
	gcmNonceSize = 12
	gcmTagSize   = 16
	rowHead      = 1 + prefixSize + saltSize + gcmNonceSize
)

// RowSealer seals the rows of one batch: with one derived key for all of
// them, since the first half of their nonces is one
// fresh random value. The second half counts from another, and never repeats. Not
// safe for concurrent use.
type RowSealer struct {
	gcm    cipher.AEAD
	head   [rowHead]byte
	first  uint64 // of the count
	sealed uint64
}

// NewRowSealer seals with the storage key that is active now.
func (k *Keyring) NewRowSealer() (*RowSealer, error) {
	set := k.storageKeys()
	s := &RowSealer{}
	s.head[0], s.head[1] = rowFormat, tinkPrefix
	binary.BigEndian.PutUint32(s.head[2:], set.active)
	if _, err := rand.Read(s.head[1+prefixSize:]); err != nil {
		return nil, fmt.Errorf("seal rows: %w", err)
	}
	s.first = binary.BigEndian.Uint64(s.head[rowHead-8:])
	block, err := set.derive(s.head[1+prefixSize:][:saltSize])
	if err != nil {
		return nil, fmt.Errorf("seal rows: %w", err)
	}
	if s.gcm, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("seal rows: %w", err)
	}
	return s, nil
}

// derive makes the AES key of a salt, with the active key.
func (k keys) derive(salt []byte) (cipher.Block, error) {
	key := make([]byte, 0, 2*aes.BlockSize)
	for _, counter := range []byte{1, 2} {
		half, err := k.prf.ComputePRF(append([]byte{0, counter, 'X', 0}, salt...), aes.BlockSize)
		if err != nil {
			return nil, err
		}
		key = append(key, half...)
	}
	defer clear(key)
	return aes.NewCipher(key)
}

// Size of a sealed row.
func (s *RowSealer) Size(plaintext int) int { return rowHead + plaintext + gcmTagSize }

// Seal writes the sealed row into dst, which has the room that Size says.
func (s *RowSealer) Seal(dst, ad, plaintext []byte) error {
	if len(plaintext) > maxRow {
		return ErrTooLarge
	}
	binary.BigEndian.PutUint64(s.head[rowHead-8:], s.first+s.sealed)
	s.sealed++
	n := copy(dst, s.head[:])
	s.gcm.Seal(dst[n:n], s.head[rowHead-gcmNonceSize:], plaintext, ad)
	return nil
}
