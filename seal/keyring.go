package seal

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/seal/sealpb"
)

const (
	keyringFormat = 1
	maxKeyring    = 1 << 20
	opaqueKeySize = 32
)

// KeyKind is what a key of the keyring is for.
type KeyKind string

// The kinds of keys that rotate. The opaque-index key never does.
const (
	ValueKey   KeyKind = "value"
	StorageKey KeyKind = "storage"
)

// KeyInfo describes a key without showing it.
type KeyInfo struct {
	Kind   KeyKind
	ID     uint32
	Active bool // it seals; the others only open
}

// Keyring is all keys of a cluster. It is safe for concurrent use.
type Keyring struct {
	cluster [16]byte
	opaque  []byte
	macs    sync.Pool // of hash.Hash keyed with opaque

	mu      sync.RWMutex
	values  keys
	storage keys
}

// NewKeyring makes the keys of a new cluster.
func NewKeyring(clusterID [16]byte) (*Keyring, error) {
	values, err := newKeys()
	if err != nil {
		return nil, err
	}
	storage, err := newKeys()
	if err != nil {
		return nil, err
	}
	opaque := make([]byte, opaqueKeySize)
	if _, err := rand.Read(opaque); err != nil {
		return nil, fmt.Errorf("make opaque-index key: %w", err)
	}
	return assemble(clusterID, values, storage, opaque), nil
}

func assemble(clusterID [16]byte, values, storage keys, opaque []byte) *Keyring {
	k := &Keyring{cluster: clusterID, opaque: opaque, values: values, storage: storage}
	k.macs.New = func() any { return hmac.New(sha256.New, opaque) }
	return k
}

// ClusterID is the cluster that the keys are of.
func (k *Keyring) ClusterID() [16]byte { return k.cluster }

func (k *Keyring) valueKeys() keys {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.values
}

func (k *Keyring) storageKeys() keys {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.storage
}

// Keys describes the keys that rotate.
func (k *Keyring) Keys() []KeyInfo {
	return append(k.valueKeys().infos(ValueKey), k.storageKeys().infos(StorageKey)...)
}

// AddKey adds a key that opens but does not seal before Activate.
func (k *Keyring) AddKey(kind KeyKind) (uint32, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	set, err := k.set(kind)
	if err != nil {
		return 0, err
	}
	added, id, err := set.add()
	if err != nil {
		return 0, err
	}
	*set = added
	return id, nil
}

// Activate makes a key the one that seals.
func (k *Keyring) Activate(kind KeyKind, id uint32) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	set, err := k.set(kind)
	if err != nil {
		return err
	}
	active, err := set.activate(id)
	if err != nil {
		return err
	}
	*set = active
	return nil
}

func (k *Keyring) set(kind KeyKind) (*keys, error) {
	switch kind {
	case ValueKey:
		return &k.values, nil
	case StorageKey:
		return &k.storage, nil
	}
	return nil, fmt.Errorf("no keys of kind %q", kind)
}

// Merge adds the keys of another copy of the same cluster's keyring; which key
// is active is as in other. ErrWrongCluster for any other keyring.
func (k *Keyring) Merge(other *Keyring) error {
	if k.cluster != other.cluster || subtle.ConstantTimeCompare(k.opaque, other.opaque) != 1 {
		return ErrWrongCluster
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	values, err := k.values.merge(other.valueKeys())
	if err != nil {
		return err
	}
	storage, err := k.storage.merge(other.storageKeys())
	if err != nil {
		return err
	}
	k.values, k.storage = values, storage
	return nil
}

// Export returns the keyring in clear, for another member over mTLS or for a
// wrapper. The caller must treat it as the secret that opens all others.
func (k *Keyring) Export() ([]byte, error) {
	values, err := k.valueKeys().export()
	if err != nil {
		return nil, err
	}
	storage, err := k.storageKeys().export()
	if err != nil {
		return nil, err
	}
	return proto.Marshal(&sealpb.Keyring{
		Format: keyringFormat, ClusterId: k.cluster[:], ValueKeys: values, StorageKeys: storage, OpaqueKey: k.opaque,
	})
}

// ImportKeyring reads what Export wrote. ErrCorrupt or ErrFormat otherwise.
func ImportKeyring(exported []byte) (*Keyring, error) {
	if len(exported) > maxKeyring {
		return nil, fmt.Errorf("%w: keyring too large", ErrCorrupt)
	}
	var pb sealpb.Keyring
	if err := proto.Unmarshal(exported, &pb); err != nil {
		return nil, fmt.Errorf("%w: keyring", ErrCorrupt)
	}
	if pb.GetFormat() != keyringFormat {
		return nil, fmt.Errorf("keyring: %w", ErrFormat)
	}
	if len(pb.GetClusterId()) != 16 || len(pb.GetOpaqueKey()) != opaqueKeySize {
		return nil, fmt.Errorf("%w: keyring", ErrCorrupt)
	}
	values, err := importKeys(pb.GetValueKeys())
	if err != nil {
		return nil, err
	}
	storage, err := importKeys(pb.GetStorageKeys())
	if err != nil {
		return nil, err
	}
	return assemble([16]byte(pb.GetClusterId()), values, storage, pb.GetOpaqueKey()), nil
}
