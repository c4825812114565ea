package node

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/hexrdev/hexrd/seal"
)

const sealedStableFormat = 1

// stableKeys are all that raft stores there.
var stableKeys = [][]byte{[]byte("CurrentTerm"), []byte("LastVoteTerm"), []byte("LastVoteCand")}

// isStable tells what raft-boltdb and raft have in the stable store. A bit that flips in
// a name would be a vote that is forgotten.
func isStable(bucket string, key []byte) bool {
	switch {
	case key == nil:
		return bucket == "conf" || bucket == "logs"
	case bucket == "conf":
		return slices.ContainsFunc(stableKeys, func(k []byte) bool { return bytes.Equal(k, key) })
	}
	return false
}

// sealedStable seals raft's term and vote: a bit that flips in them is found,
// and never counts as another vote.
type sealedStable struct {
	raft.StableStore
	keys    *seal.Keyring
	writing *sync.Mutex
	// failed hears of a term or vote that could not be stored; raft would panic.
	failed func(error)
}

func (s sealedStable) ad(key []byte) []byte {
	id := s.keys.ClusterID()
	return append(append([]byte{'s', 't', 'a', 'b', 'l', 'e', sealedStableFormat}, id[:]...), key...)
}

func (s sealedStable) Set(key, val []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.set(key, val)
}

func (s sealedStable) set(key, val []byte) error {
	sealed, err := s.keys.SealRow(s.ad(key), val)
	if err == nil {
		err = s.StableStore.Set(key, sealed)
	}
	if err != nil {
		err = fmt.Errorf("%w: store term or vote: %w", ErrDisk, err)
		s.failed(err)
	}
	return err
}

// Get passes the wrapped store's own error for a key that is not there: raft
// knows it by its text.
func (s sealedStable) Get(key []byte) ([]byte, error) {
	sealed, err := s.StableStore.Get(key)
	if err != nil || len(sealed) == 0 {
		return nil, err
	}
	val, err := s.keys.OpenRow(s.ad(key), sealed)
	if err != nil {
		return nil, fmt.Errorf("%w: term or vote in stable.db were altered or damaged: %w", ErrLog, err)
	}
	return val, nil
}

func (s sealedStable) SetUint64(key []byte, val uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, val))
}

func (s sealedStable) GetUint64(key []byte) (uint64, error) {
	val, err := s.Get(key)
	if err != nil || val == nil {
		return 0, err
	}
	if len(val) != 8 {
		return 0, fmt.Errorf("%w: term or vote in stable.db", ErrLog)
	}
	return binary.BigEndian.Uint64(val), nil
}

// reseal seals term and vote with the storage key that seals now, where another
// did. Raft's own writes wait for it.
func (s sealedStable) reseal() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	for _, key := range stableKeys {
		sealed, err := s.StableStore.Get(key)
		if errors.Is(err, raftboltdb.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look at term and vote: %w", err)
		}
		if id, _ := seal.RowKeyID(sealed); id == s.keys.Active(seal.StorageKey) {
			continue
		}
		val, err := s.Get(key)
		if err == nil {
			err = s.set(key, val)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
