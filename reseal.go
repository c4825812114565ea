package hexrd

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hexrdev/hexrd/cluster/clusterpb"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// resealShare is how many times the work's own time a node rests between its
// parts: Apply waits for a part, and must not wait for all of them.
const resealShare = 9

// reseal seals this node's rows with the storage key that seals now, a little at
// a time, and says in the log when nothing here is sealed with an older one: no
// row, no log entry, no snapshot.
func (s *Server) reseal(ctx context.Context) {
	tick := time.NewTicker(keysInterval)
	defer tick.Stop()
	failing := false
	for {
		err := s.resealRows(ctx)
		if err == nil {
			err = s.reportUse(ctx)
		}
		if err != nil && !failing && ctx.Err() == nil {
			s.log.Warn("rows could not be sealed with the new storage key, or it could not be logged: it is tried again", "error", err)
		}
		failing = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) resealRows(ctx context.Context) error {
	for {
		begin := time.Now()
		done, err := s.node.Store().Reseal()
		if err != nil || done {
			return err
		}
		select {
		case <-time.After(resealShare * time.Since(begin)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// storageUse looks at the rows, the raft log and the snapshots of this node.
func (s *Server) storageUse(ctx context.Context) ([]*clusterpb.StorageKeyUse, error) {
	rows, err := s.node.Store().ResealState()
	if err != nil {
		return nil, err
	}
	entries, err := s.node.LogKeys()
	if err != nil {
		return nil, err
	}
	snapshots, err := s.node.SnapshotKeys(ctx)
	if err != nil {
		return nil, err
	}
	var out []*clusterpb.StorageKeyUse
	for _, k := range s.node.Store().Keys() {
		if !sealsNoMore(k) {
			continue
		}
		u := &clusterpb.StorageKeyUse{KeyId: k.GetId(), LogEntries: entries[k.GetId()]}
		if !s.after(rows.Clean, k) {
			u.Rows = max(rows.Left, 1)
		}
		for _, clean := range snapshots {
			if !s.after(clean, k) {
				u.Snapshots++
			}
		}
		out = append(out, u)
	}
	return out, nil
}

func sealsNoMore(k *fsmpb.Key) bool {
	return k.GetKind() == fsmpb.Key_KIND_STORAGE && (k.GetState() == fsmpb.Key_STATE_REPLACED || k.GetState() == fsmpb.Key_STATE_RETIRED)
}

// after reports whether a storage key came after another.
func (s *Server) after(id uint32, k *fsmpb.Key) bool {
	for _, other := range s.node.Store().Keys() {
		if other.GetKind() == fsmpb.Key_KIND_STORAGE && other.GetId() == id {
			return s.precedes(k.GetId(), other)
		}
	}
	return false
}

// reportUse logs what changed of this node's use of storage keys.
func (s *Server) reportUse(ctx context.Context) error {
	keys := s.node.Store().Keys()
	if !slices.ContainsFunc(keys, sealsNoMore) || !s.joined() {
		return nil
	}
	uses, err := s.storageUse(ctx)
	if err != nil {
		return err
	}
	for _, k := range keys {
		i := slices.IndexFunc(uses, func(u *clusterpb.StorageKeyUse) bool { return sealsNoMore(k) && u.GetKeyId() == k.GetId() })
		if i < 0 {
			continue
		}
		u, said := uses[i], slices.Contains(k.GetUnusedBy(), s.nodeID)
		used := u.GetRows() > 0 || u.GetLogEntries() > 0 || u.GetSnapshots() > 0
		retired := k.GetState() == fsmpb.Key_STATE_RETIRED
		if used && !said && !retired || !used && (said || retired) {
			continue
		}
		if err := s.node.Store().Flush(ctx); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, keyTimeout)
		err := s.record(ctx, s.nodeID, &fsmpb.Access{Op: &fsmpb.Access_KeyUse{KeyUse: &fsmpb.KeyUse{KeyId: k.GetId(), Used: used}}})
		cancel()
		if err != nil {
			return fmt.Errorf("log the use of a key: %w", err)
		}
	}
	return nil
}
