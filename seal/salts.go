package seal

import (
	"crypto/cipher"
	"encoding/binary"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/hexrdev/hexrd/internal/doorkeeper"
)

// saltsKept is how many derived keys are kept, of about a KiB each; a store of some
// million rows has a few, since a RowSealer seals many rows with one.
const saltsKept = 64

// salts keeps the ciphers of salts that rows of a storage key were opened with again and
// again: to derive one costs as much as to open a row of a KiB with it. Safe for
// concurrent use.
type salts struct {
	ciphers *lru.Cache[[saltSize]byte, cipher.AEAD]
	door    *doorkeeper.Doorkeeper
}

func newSalts() (*salts, error) {
	ciphers, err := lru.New[[saltSize]byte, cipher.AEAD](saltsKept)
	return &salts{ciphers, doorkeeper.New()}, err
}

// openRow is open, with the cipher of the row's salt where that is kept.
func (k keys) openRow(ciphertext, ad []byte) ([]byte, error) {
	id, ok := sealedBy(ciphertext)
	if !ok || id != k.active || len(ciphertext) < prefixSize+saltSize+gcmNonceSize+gcmTagSize {
		return k.open(ciphertext, ad)
	}
	salt := [saltSize]byte(ciphertext[prefixSize:])
	gcm, ok := k.salts.ciphers.Get(salt)
	if !ok {
		if !k.salts.door.Again(binary.BigEndian.Uint64(salt[:])) {
			return k.open(ciphertext, ad)
		}
		var err error
		if gcm, err = k.derive(salt[:]); err != nil {
			return nil, err
		}
		k.salts.ciphers.Add(salt, gcm)
	}
	rest := ciphertext[prefixSize+saltSize:]
	plaintext, err := gcm.Open(nil, rest[:gcmNonceSize], rest[gcmNonceSize:], ad)
	if err != nil {
		return nil, ErrCorrupt
	}
	return plaintext, nil
}
