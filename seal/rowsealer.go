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

// rowsOfSealer is how many rows a derived key seals at most. AES-GCM allows 2^32 with
// random nonces (NIST SP 800-38D, section 8.3).
const rowsOfSealer = 1 << 20

// RowSealer seals the rows of one batch, and of others after it, with one derived key:
// the first half of all nonces is one fresh random value. The second half counts, from
// another for each batch, so that a machine that goes on twice from one snapshot of its
// memory repeats none. Not safe for concurrent use.
type RowSealer struct {
	gcm    cipher.AEAD
	head   [rowHead]byte // of the next row
	sealed uint64
}

// RowSealer returns one that seals a batch of rows with the storage key that is active
// now: old, if that still may.
func (k *Keyring) RowSealer(old *RowSealer) (*RowSealer, error) {
	set, s := k.storageKeys(), old
	if s == nil || s.key() != set.active || s.sealed >= rowsOfSealer {
		s = &RowSealer{}
		s.head[0], s.head[1] = rowFormat, tinkPrefix
		binary.BigEndian.PutUint32(s.head[2:], set.active)
		if err := s.random(s.salt()); err != nil {
			return nil, err
		}
		var err error
		if s.gcm, err = set.derive(s.salt()); err != nil {
			return nil, fmt.Errorf("seal rows: %w", err)
		}
	}
	if err := s.random(s.nonce()); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *RowSealer) key() uint32   { return binary.BigEndian.Uint32(s.head[2:]) }
func (s *RowSealer) salt() []byte  { return s.head[1+prefixSize:][:saltSize] }
func (s *RowSealer) nonce() []byte { return s.head[rowHead-gcmNonceSize:] }

func (s *RowSealer) random(b []byte) error {
	if _, err := rand.Read(b); err != nil {
		return fmt.Errorf("seal rows: %w", err)
	}
	return nil
}

// derive makes the cipher of a salt, with the active key.
func (k keys) derive(salt []byte) (cipher.AEAD, error) {
	key := make([]byte, 0, 2*aes.BlockSize)
	for _, counter := range []byte{1, 2} {
		half, err := k.prf.ComputePRF(append([]byte{0, counter, 'X', 0}, salt...), aes.BlockSize)
		if err != nil {
			return nil, err
		}
		key = append(key, half...)
	}
	defer clear(key)
	return newGCM(key)
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Size of a sealed row.
func (s *RowSealer) Size(plaintext int) int { return rowHead + plaintext + gcmTagSize }

// Seal writes the sealed row into dst, which has the room that Size says.
func (s *RowSealer) Seal(dst, ad, plaintext []byte) error {
	if len(plaintext) > maxRow {
		return ErrTooLarge
	}
	n := copy(dst, s.head[:])
	s.gcm.Seal(dst[n:n], s.nonce(), plaintext, ad)
	count := s.head[rowHead-8:]
	binary.BigEndian.PutUint64(count, binary.BigEndian.Uint64(count)+1)
	s.sealed++
	return nil
}
