package seal

import (
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	prfsubtle "github.com/tink-crypto/tink-go/v2/prf/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"
	"google.golang.org/protobuf/proto"

	xaespb "github.com/tink-crypto/tink-go/v2/proto/x_aes_gcm_go_proto"

	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
)

// keys is a Tink keyset of XAES-256-GCM keys (192-bit nonces: random ones never
// run out) with its primitive, which picks the key by the ciphertext's prefix.
type keys struct {
	handle *keyset.Handle
	tink.AEAD
	ids    map[uint32]bool
	active uint32
	prf    *prfsubtle.AESCMACPRF // of the active key
	salts  *salts                // of the active key
}

func newKeys() (keys, error) {
	h, err := keyset.NewHandle(aead.XAES256GCM192BitNonceKeyTemplate())
	if err != nil {
		return keys{}, fmt.Errorf("make keyset: %w", err)
	}
	return fromHandle(h)
}

func fromHandle(h *keyset.Handle) (keys, error) {
	p, err := aead.New(h)
	if err != nil {
		return keys{}, fmt.Errorf("open keyset: %w", err)
	}
	info := h.KeysetInfo()
	k := keys{handle: h, AEAD: p, ids: map[uint32]bool{}, active: info.GetPrimaryKeyId()}
	for _, key := range info.GetKeyInfo() {
		k.ids[key.GetKeyId()] = true
	}
	if k.prf, err = k.activePRF(); err != nil {
		return keys{}, err
	}
	k.salts, err = newSalts()
	return k, err
}

// activePRF derives the ciphers of salts from the active key.
func (k keys) activePRF() (*prfsubtle.AESCMACPRF, error) {
	key := k.key(k.active)
	if key == nil {
		return nil, fmt.Errorf("%w: no active key", ErrCorrupt)
	}
	value, err := keyValue(key)
	if err != nil {
		return nil, err
	}
	return prfsubtle.NewAESCMACPRF(value)
}

// key of that ID; nil where there is none.
func (k keys) key(id uint32) *tinkpb.Keyset_Key {
	for _, key := range insecurecleartextkeyset.KeysetMaterial(k.handle).GetKey() {
		if key.GetKeyId() == id {
			return key
		}
	}
	return nil
}

// export returns the keyset in clear.
func (k keys) export() ([]byte, error) {
	var out bytes.Buffer
	if err := insecurecleartextkeyset.Write(k.handle, keyset.NewBinaryWriter(&out)); err != nil {
		return nil, fmt.Errorf("write keyset: %w", err)
	}
	return out.Bytes(), nil
}

func importKeys(clear []byte) (keys, error) {
	h, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(clear)))
	if err != nil {
		return keys{}, fmt.Errorf("%w: keyset", ErrCorrupt)
	}
	return fromHandle(h)
}

// activate returns the keyset with that key as the one that seals.
func (k keys) activate(id uint32) (keys, error) {
	m := keyset.NewManagerFromHandle(k.handle)
	if err := m.SetPrimary(id); err != nil {
		return keys{}, fmt.Errorf("activate key: %w", err)
	}
	return k.from(m)
}

func (keys) from(m *keyset.Manager) (keys, error) {
	h, err := m.Handle()
	if err != nil {
		return keys{}, err
	}
	return fromHandle(h)
}

// merge returns the union; k says which key is active.
func (k keys) merge(other keys) (keys, error) {
	union := map[uint32]*tinkpb.Keyset_Key{}
	ours := insecurecleartextkeyset.KeysetMaterial(k.handle)
	for _, set := range []*tinkpb.Keyset{ours, insecurecleartextkeyset.KeysetMaterial(other.handle)} {
		for _, key := range set.GetKey() {
			if has := union[key.GetKeyId()]; has != nil && !sameKey(has, key) {
				return keys{}, fmt.Errorf("%w: two keys of one ID", ErrCorrupt)
			}
			union[key.GetKeyId()] = key
		}
	}
	merged := &tinkpb.Keyset{PrimaryKeyId: ours.GetPrimaryKeyId()}
	for _, id := range slices.Sorted(maps.Keys(union)) {
		merged.Key = append(merged.Key, union[id])
	}
	return fromMaterial(merged)
}

func fromMaterial(set *tinkpb.Keyset) (keys, error) {
	data, err := proto.Marshal(set)
	if err != nil {
		return keys{}, fmt.Errorf("write keyset: %w", err)
	}
	defer clear(data)
	return importKeys(data)
}

// newKey is a keyset of one new key of that ID.
func newKey(id uint32) (keys, error) {
	k, err := newKeys()
	if err != nil {
		return keys{}, err
	}
	set := insecurecleartextkeyset.KeysetMaterial(k.handle)
	set.PrimaryKeyId, set.Key[0].KeyId = id, id
	return fromMaterial(set)
}

// one is the keyset of that key alone.
func (k keys) one(id uint32) (keys, bool) {
	key := k.key(id)
	if key == nil {
		return keys{}, false
	}
	set, err := fromMaterial(&tinkpb.Keyset{PrimaryKeyId: id, Key: []*tinkpb.Keyset_Key{key}})
	return set, err == nil
}

// without is the keyset without a key that does not seal.
func (k keys) without(id uint32) (keys, error) {
	set := insecurecleartextkeyset.KeysetMaterial(k.handle)
	if set.GetPrimaryKeyId() == id {
		return keys{}, errors.New("the key that seals can't be dropped")
	}
	set.Key = slices.DeleteFunc(set.Key, func(key *tinkpb.Keyset_Key) bool { return key.GetKeyId() == id })
	return fromMaterial(set)
}

// material is the key itself, whatever wrote it.
func (k keys) material() ([]byte, error) {
	set := insecurecleartextkeyset.KeysetMaterial(k.handle)
	if len(set.GetKey()) != 1 {
		return nil, fmt.Errorf("%w: not one key", ErrCorrupt)
	}
	return keyValue(set.GetKey()[0])
}

func keyValue(key *tinkpb.Keyset_Key) ([]byte, error) {
	var k xaespb.XAesGcmKey
	err := proto.Unmarshal(key.GetKeyData().GetValue(), &k)
	if err != nil || len(k.GetKeyValue()) == 0 || k.GetParams().GetSaltSize() != saltSize {
		return nil, fmt.Errorf("%w: key", ErrCorrupt)
	}
	return k.GetKeyValue(), nil
}

func sameKey(a, b *tinkpb.Keyset_Key) bool {
	va, err1 := keyValue(a)
	vb, err2 := keyValue(b)
	return err1 == nil && err2 == nil && subtle.ConstantTimeCompare(va, vb) == 1
}

func (k keys) infos(kind KeyKind) []KeyInfo {
	out := make([]KeyInfo, 0, len(k.ids))
	for _, id := range slices.Sorted(maps.Keys(k.ids)) {
		out = append(out, KeyInfo{Kind: kind, ID: id, Active: id == k.active})
	}
	return out
}

// What Tink puts in front of a ciphertext: a start byte, and the key's ID.
const (
	tinkPrefix = 1
	prefixSize = 5
)

// sealedBy is the ID of the key that made a ciphertext.
func sealedBy(ciphertext []byte) (uint32, bool) {
	if len(ciphertext) < prefixSize || ciphertext[0] != tinkPrefix {
		return 0, false
	}
	return binary.BigEndian.Uint32(ciphertext[1:]), true
}

// open decrypts; ErrNoKey where the key that sealed is not in the set.
func (k keys) open(ciphertext, ad []byte) ([]byte, error) {
	plaintext, err := k.Decrypt(ciphertext, ad)
	if err == nil {
		return plaintext, nil
	}
	if id, ok := sealedBy(ciphertext); ok && !k.ids[id] {
		return nil, ErrNoKey
	}
	return nil, ErrCorrupt
}
