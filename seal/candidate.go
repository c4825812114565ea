package seal

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hexrdev/hexrd/seal/sealpb"
)

// A rotation adds a key in steps, so that every member can open before anyone
// seals, and so that two nodes that make a key of one ID settle on one:
// NewCandidate, Promote where the log took it (ExportKey and ImportKey on the
// other nodes), Activate. Each is done to a Clone, which is made durable before
// it is adopted.

// NewCandidate makes a key that nothing opens or seals before Promote.
func (k *Keyring) NewCandidate(kind KeyKind, id uint32) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	set, err := k.set(kind)
	if err != nil {
		return err
	}
	if id == 0 || set.ids[id] {
		return fmt.Errorf("%s key %08x is taken", kind, id)
	}
	candidate, err := newKey(id)
	if err != nil {
		return err
	}
	if k.candidates == nil {
		k.candidates = map[name]keys{}
	}
	k.candidates[name{kind, id}] = candidate
	return nil
}

// CandidateFingerprint is that of a candidate, as Fingerprint.
func (k *Keyring) CandidateFingerprint(kind KeyKind, id uint32) ([32]byte, bool) {
	k.mu.RLock()
	candidate, ok := k.candidates[name{kind, id}]
	k.mu.RUnlock()
	if !ok {
		return [32]byte{}, false
	}
	return k.fingerprint(kind, id, candidate)
}

// Promote makes a candidate a key that opens.
func (k *Keyring) Promote(kind KeyKind, id uint32) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	candidate, ok := k.candidates[name{kind, id}]
	if !ok {
		return fmt.Errorf("there is no %s key %08x to take up", kind, id)
	}
	if err := k.add(kind, candidate); err != nil {
		return err
	}
	delete(k.candidates, name{kind, id})
	return nil
}

func (k *Keyring) add(kind KeyKind, key keys) error {
	set, err := k.set(kind)
	if err != nil {
		return err
	}
	merged, err := set.merge(key)
	if err != nil {
		return err
	}
	*set = merged
	return nil
}

// Drop forgets a key, or a candidate, that nothing was sealed with.
func (k *Keyring) Drop(kind KeyKind, id uint32) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	set, err := k.set(kind)
	if err != nil {
		return err
	}
	left, err := set.without(id)
	if err != nil {
		return err
	}
	*set = left
	delete(k.candidates, name{kind, id})
	return nil
}

// ExportKey returns one key in clear, for another member over mTLS.
func (k *Keyring) ExportKey(kind KeyKind, id uint32) ([]byte, error) {
	one, ok := k.one(kind, id)
	if !ok {
		return nil, fmt.Errorf("there is no %s key %08x", kind, id)
	}
	return one.export()
}

// ImportKey adds what ExportKey gave: a key that opens, of that ID and with that
// fingerprint. ErrCorrupt otherwise.
func (k *Keyring) ImportKey(kind KeyKind, id uint32, exported []byte, fingerprint [32]byte) error {
	if len(exported) > maxKeyring {
		return fmt.Errorf("%w: key too large", ErrCorrupt)
	}
	key, err := importKeys(exported)
	if err != nil {
		return err
	}
	if got, ok := k.fingerprint(kind, id, key); !ok || key.active != id || got != fingerprint {
		return fmt.Errorf("%w: not the key that was asked for", ErrCorrupt)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.add(kind, key)
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

// Active is the key that seals; 0 for a kind that does not exist.
func (k *Keyring) Active(kind KeyKind) uint32 {
	k.mu.RLock()
	defer k.mu.RUnlock()
	set, err := k.set(kind)
	if err != nil {
		return 0
	}
	return set.active
}

// Has reports whether the keyring opens what that key sealed.
func (k *Keyring) Has(kind KeyKind, id uint32) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	set, err := k.set(kind)
	return err == nil && set.ids[id]
}

// Fingerprint tells keys of one ID apart without telling anything of the key: a
// keyed hash.
func (k *Keyring) Fingerprint(kind KeyKind, id uint32) ([32]byte, bool) {
	one, ok := k.one(kind, id)
	if !ok {
		return [32]byte{}, false
	}
	return k.fingerprint(kind, id, one)
}

func (k *Keyring) fingerprint(kind KeyKind, id uint32, key keys) ([32]byte, bool) {
	material, err := key.material()
	if err != nil {
		return [32]byte{}, false
	}
	return k.Opaque("key fingerprint", string(kind), fmt.Sprintf("%08x", id), string(material)), true
}

func (k *Keyring) one(kind KeyKind, id uint32) (keys, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	set, err := k.set(kind)
	if err != nil {
		return keys{}, false
	}
	return set.one(id)
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

func exportCandidates(candidates map[name]keys) ([]*sealpb.Candidate, error) {
	var out []*sealpb.Candidate
	for n, key := range candidates {
		data, err := key.export()
		if err != nil {
			return nil, err
		}
		out = append(out, &sealpb.Candidate{Kind: string(n.kind), Keyset: data})
	}
	slices.SortFunc(out, func(a, b *sealpb.Candidate) int { return strings.Compare(a.GetKind(), b.GetKind()) })
	return out, nil
}

func importCandidates(list []*sealpb.Candidate) (map[name]keys, error) {
	out := map[name]keys{}
	for _, c := range list {
		key, err := importKeys(c.GetKeyset())
		if err != nil {
			return nil, err
		}
		out[name{KeyKind(c.GetKind()), key.active}] = key
	}
	return out, nil
}
