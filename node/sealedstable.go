package node

import (
	"encoding/binary"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/hexrdev/hexrd/seal"
)

const sealedStableFormat = 1

// sealedStable seals raft's term and vote: a bit that flips in them is found,
// and never counts as another vote.
type sealedStable struct {
	raft.StableStore
	keys *seal.Keyring
	// failed hears of a term or vote that could not be stored; raft would panic.
	failed func(error)
}

func (s sealedStable) ad(key []byte) []byte {
	id := s.keys.ClusterID()
	return append(append([]byte{'s', 't', 'a', 'b', 'l', 'e', sealedStableFormat}, id[:]...), key...)
}

func (s sealedStable) Set(key, val []byte) error {
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
