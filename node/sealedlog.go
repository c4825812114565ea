package node

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/internal/fault"
	"github.com/hexrdev/hexrd/node/nodepb"
	"github.com/hexrdev/hexrd/seal"
)

const sealedLogFormat = 1

// sealedLog seals the content of every entry. What it wraps sees index, term
// and type, and noise; an entry opens only in its own place.
type sealedLog struct {
	raft.LogStore
	keys    *seal.Keyring
	corrupt func(error) // an entry can't be read: the node must stop
}

// IsMonotonic passes the wrapped store's answer through: raft asks for it.
func (s sealedLog) IsMonotonic() bool {
	return isMonotonic(s.LogStore)
}

func (s sealedLog) ad(l *raft.Log) []byte {
	id := s.keys.ClusterID()
	ad := append([]byte{'l', 'o', 'g', sealedLogFormat}, id[:]...)
	ad = binary.BigEndian.AppendUint64(ad, l.Index)
	ad = binary.BigEndian.AppendUint64(ad, l.Term)
	return append(ad, byte(l.Type))
}

func (s sealedLog) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

func (s sealedLog) StoreLogs(logs []*raft.Log) error {
	sealed := make([]*raft.Log, len(logs))
	for i, l := range logs {
		content, err := proto.Marshal(&nodepb.SealedLog{Data: l.Data, Extensions: l.Extensions})
		if err != nil {
			return fmt.Errorf("seal log entry: %w", err)
		}
		data, err := s.keys.SealRow(s.ad(l), content)
		if err != nil {
			return fmt.Errorf("seal log entry: %w", err)
		}
		sealed[i] = &raft.Log{Index: l.Index, Term: l.Term, Type: l.Type, Data: data, AppendedAt: l.AppendedAt}
	}
	fault.Point("log.sealed")
	err := s.LogStore.StoreLogs(sealed)
	fault.Point("log.stored")
	return err
}

func (s sealedLog) GetLog(index uint64, l *raft.Log) error {
	if err := s.LogStore.GetLog(index, l); err != nil {
		if !errors.Is(err, raft.ErrLogNotFound) {
			s.corrupt(err)
		}
		return err
	}
	content, err := s.keys.OpenRow(s.ad(l), l.Data)
	if err == nil && l.Index != index {
		err = seal.ErrCorrupt
	}
	var entry nodepb.SealedLog
	if err == nil {
		err = proto.Unmarshal(content, &entry)
	}
	if err != nil {
		err = fmt.Errorf("%w: entry %d does not open in its place: %w", ErrLog, index, err)
		s.corrupt(err)
		return err
	}
	l.Data, l.Extensions = entry.GetData(), entry.GetExtensions()
	return nil
}
