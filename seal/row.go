package seal

const (
	rowFormat = 1
	maxRow    = 64 << 20
)

// SealRow seals a row of the store or an entry of the log. ad names its place;
// it opens nowhere else. The result is a format byte and Tink's ciphertext,
// whose prefix names the storage key.
func (k *Keyring) SealRow(ad, plaintext []byte) ([]byte, error) {
	if len(plaintext) > maxRow {
		return nil, ErrTooLarge
	}
	s, err := k.RowSealer(nil)
	if err != nil {
		return nil, err
	}
	sealed := make([]byte, s.Size(len(plaintext)))
	return sealed, s.Seal(sealed, ad, plaintext)
}

// OpenRow opens what SealRow made for the same place, or returns ErrCorrupt
// (ErrNoKey), or ErrFormat.
func (k *Keyring) OpenRow(ad, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, ErrCorrupt
	}
	if sealed[0] != rowFormat {
		return nil, ErrFormat
	}
	return k.storageKeys().openRow(sealed[1:], ad)
}

// RowKeyID is the storage key that sealed a row; false for what is no row.
func RowKeyID(sealed []byte) (uint32, bool) {
	if len(sealed) == 0 || sealed[0] != rowFormat {
		return 0, false
	}
	return sealedBy(sealed[1:])
}
