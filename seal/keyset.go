package seal

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
	"google.golang.org/protobuf/proto"

	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
)

// keys is a Tink keyset of XAES-256-GCM keys (192-bit nonces: random ones never
// run out) with its primitive, which picks the key by the ciphertext's prefix.
type keys struct {
	handle *keyset.Handle
	tink.AEAD
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
	return keys{h, p}, nil
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

// add returns the keyset with one more key, which is not active yet.
func (k keys) add() (keys, uint32, error) {
	m := keyset.NewManagerFromHandle(k.handle)
	id, err := m.Add(aead.XAES256GCM192BitNonceKeyTemplate())
	if err != nil {
		return keys{}, 0, fmt.Errorf("add key: %w", err)
	}
	added, err := k.from(m)
	return added, id, err
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

// merge returns the union; other says which key is active.
func (k keys) merge(other keys) (keys, error) {
	union := map[uint32]*tinkpb.Keyset_Key{}
	theirs := insecurecleartextkeyset.KeysetMaterial(other.handle)
	for _, set := range []*tinkpb.Keyset{insecurecleartextkeyset.KeysetMaterial(k.handle), theirs} {
		for _, key := range set.GetKey() {
			union[key.GetKeyId()] = key
		}
	}
	merged := &tinkpb.Keyset{PrimaryKeyId: theirs.GetPrimaryKeyId()}
	for _, id := range slices.Sorted(maps.Keys(union)) {
		merged.Key = append(merged.Key, union[id])
	}
	data, err := proto.Marshal(merged)
	if err != nil {
		return keys{}, fmt.Errorf("merge keysets: %w", err)
	}
	return importKeys(data)
}

func (k keys) infos(kind KeyKind) []KeyInfo {
	info := k.handle.KeysetInfo()
	out := make([]KeyInfo, 0, len(info.GetKeyInfo()))
	for _, key := range info.GetKeyInfo() {
		out = append(out, KeyInfo{Kind: kind, ID: key.GetKeyId(), Active: key.GetKeyId() == info.GetPrimaryKeyId()})
	}
	return out
}
