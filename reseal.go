package hexrd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hexrdev/hexrd/cluster/clusterpb"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const (
	// resealShare is how many times the work's own time a node rests between its
	// parts: Apply waits for a part, and must not wait for all of them.
	resealShare     = 9
	retiredInterval = time.Minute
)

// reseal seals this node's rows with the storage key that seals now, a little at
// a time, and says in the log when nothing here is sealed with an older one: no
// row, no log entry, no snapshot.
func (s *Server) reseal(ctx context.Context) {
	var looked time.Time // for retired keys alone, which only a snapshot brings back
	s.repeat(ctx, "rows could not be sealed with the new storage key, or it could not be logged: it is tried again", nil, func(ctx context.Context) error {
		if err := errors.Join(s.resealRows(ctx), s.node.ResealVote()); err != nil {
			return err
		}
		if !slices.ContainsFunc(s.node.Store().Keys(), replaced) && time.Since(looked) < retiredInterval {
			return nil
		}
		looked = time.Now()
		return s.reportUse(ctx)
	})
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
		for _, snap := range snapshots {
			if !s.after(snap.Clean, k) || snap.Meta == k.GetId() {
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

func replaced(k *fsmpb.Key) bool {
	return k.GetKind() == fsmpb.Key_KIND_STORAGE && k.GetState() == fsmpb.Key_STATE_REPLACED
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
	if !slices.ContainsFunc(s.node.Store().Keys(), sealsNoMore) || !s.joined() {
		return nil
	}
	uses, err := s.storageUse(ctx)
	if err != nil {
		return err
	}
	for _, k := range s.node.Store().Keys() {
		i := slices.IndexFunc(uses, func(u *clusterpb.StorageKeyUse) bool { return u.GetKeyId() == k.GetId() })
		if i < 0 || !sealsNoMore(k) {
			continue
		}
		used := uses[i].GetRows() > 0 || uses[i].GetLogEntries() > 0 || uses[i].GetSnapshots() > 0
		if !s.isNews(k, used) {
			continue
		}
		if err := s.logUse(ctx, &fsmpb.KeyUse{KeyId: k.GetId(), Used: used}); err != nil {
			return err
		}
	}
	return nil
}

// isNews: the log has it otherwise. Nobody needs to say that a retired key is not
// used.
func (s *Server) isNews(k *fsmpb.Key, used bool) bool {
	said, retired := slices.Contains(k.GetUnusedBy(), s.nodeID), k.GetState() == fsmpb.Key_STATE_RETIRED
	if used {
		return said || retired
	}
	return !said && !retired
}

// logUse says it once it is durable.
func (s *Server) logUse(ctx context.Context, use *fsmpb.KeyUse) error {
	if err := s.node.Store().Flush(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	if err := s.record(ctx, s.nodeID, &fsmpb.Access{Op: &fsmpb.Access_KeyUse{KeyUse: use}}); err != nil && !overtaken(err) {
		return fmt.Errorf("log the use of a key: %w", err)
	}
	return nil
}
