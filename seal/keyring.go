package seal

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"maps"
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
	macs    sync.Pool // of *opaqueMAC

	mu      sync.RWMutex
	values  keys
	storage keys
	// candidates are what this node made, and the log has not taken yet.
	candidates map[name]keys
}

// name is which key.
type name struct {
	kind KeyKind
	id   uint32
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
	k.macs.New = func() any { return newOpaqueMAC(opaque) }
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

// Merge adds the keys of another copy of the same cluster's keyring. Which keys
// seal stays as it is: that is decided in the log. ErrWrongCluster for any other
// keyring, ErrCorrupt where one ID has two keys.
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

// Clone returns a copy that can be changed, made durable, and then adopted.
func (k *Keyring) Clone() *Keyring {
	k.mu.RLock()
	defer k.mu.RUnlock()
	c := assemble(k.cluster, k.values, k.storage, k.opaque)
	c.candidates = maps.Clone(k.candidates)
	return c
}

// Adopt takes over the keys of a clone: what it seals from now on is sealed with
// those.
func (k *Keyring) Adopt(clone *Keyring) {
	clone.mu.RLock()
	values, storage, candidates := clone.values, clone.storage, maps.Clone(clone.candidates)
	clone.mu.RUnlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.values, k.storage, k.candidates = values, storage, candidates
}

// Export returns the keyring in clear, for another member over mTLS, without
// candidates. The caller must treat it as the secret that opens all others.
func (k *Keyring) Export() ([]byte, error) { return k.marshal(false) }

func (k *Keyring) marshal(own bool) ([]byte, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	values, err := k.values.export()
	if err != nil {
		return nil, err
	}
	storage, err := k.storage.export()
	if err != nil {
		return nil, err
	}
	pb := &sealpb.Keyring{
		Format: keyringFormat, ClusterId: k.cluster[:], ValueKeys: values, StorageKeys: storage, OpaqueKey: k.opaque,
	}
	if own {
		if pb.Candidates, err = exportCandidates(k.candidates); err != nil {
			return nil, err
		}
	}
	return proto.Marshal(pb)
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
	k := assemble([16]byte(pb.GetClusterId()), values, storage, pb.GetOpaqueKey())
	k.candidates, err = importCandidates(pb.GetCandidates())
	return k, err
}
