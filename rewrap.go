package hexrd

import (
	"context"
	"fmt"
	"time"

	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

const (
	rewrapCount = 256     // versions of one access
	rewrapBytes = 1 << 20 // of their sealed values: Apply writes them
)

// rewrap puts, while this node leads, all versions under the active value key.
// Each part is an access with its own row. Where it was is in the state: after a
// change of leader or a restart it looks at what is not done.
func (s *Server) rewrap(ctx context.Context) {
	s.repeat(ctx, "versions could not be put under the new value key: it is tried again", nil, s.rewrapAll)
}

// staleKey is the active value key, where some version is under another.
func (s *Server) staleKey() (uint32, bool) {
	active := s.keys.ring.Active(seal.ValueKey)
	stale := false
	for _, u := range s.node.Store().ValueKeyUses() {
		stale = stale || u.GetKeyId() != active
	}
	for _, k := range s.node.Store().Keys() {
		if k.GetKind() == fsmpb.Key_KIND_VALUE && k.GetState() == fsmpb.Key_STATE_ACTIVE {
			return active, stale && k.GetId() == active
		}
	}
	return 0, false
}

func (s *Server) rewrapAll(ctx context.Context) error {
	key, stale := s.staleKey()
	if !stale || !s.leads() {
		return nil
	}
	var from []byte
	failed := 0
	for {
		begin := time.Now()
		page, err := s.node.Store().StaleVersions(ctx, from, key, rewrapCount, rewrapBytes)
		if err != nil {
			return err
		}
		op, bad := s.rewraps(key, page.Versions)
		failed += bad
		if len(op.GetItems()) > 0 {
			if err := s.logRewrap(ctx, op); err != nil {
				return err
			}
			if err := s.restAfter(ctx, len(op.GetItems()), time.Since(begin)); err != nil {
				return err
			}
		}
		if from = page.Next; from == nil {
			break
		}
		if now, _ := s.staleKey(); now != key || !s.leads() {
			return nil
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d versions do not open: look at the disks, and at `hexrd keys status`", failed)
	}
	return nil
}

// rewraps wraps data keys anew; bad is how many do not open.
func (s *Server) rewraps(key uint32, versions []fsm.StaleVersion) (op *fsmpb.KeyRewrap, bad int) {
	op = &fsmpb.KeyRewrap{KeyId: key}
	for _, v := range versions {
		place := seal.ValueContext{Cluster: s.keys.ring.ClusterID(), Record: v.Record, RequestID: v.RequestID}
		wrapped, err := s.keys.ring.Rewrap(place, v.Sealed)
		if err != nil {
			bad++
			continue
		}
		op.Items = append(op.Items, &fsmpb.Rewrap{Record: v.Record, Version: v.Version, Digest: v.Digest, Wrapped: wrapped})
	}
	return op, bad
}

// logRewrap puts a part through the log. What was not applied, or may have been,
// is found again by the next look.
func (s *Server) logRewrap(ctx context.Context, op *fsmpb.KeyRewrap) error {
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	err := s.record(ctx, s.nodeID, &fsmpb.Access{Op: &fsmpb.Access_KeyRewrap{KeyRewrap: op}})
	if err != nil && !overtaken(err) {
		return fmt.Errorf("rewrap: %w", err)
	}
	return nil
}

// restAfter keeps the cluster's rate, and at least half of the time free.
func (s *Server) restAfter(ctx context.Context, n int, took time.Duration) error {
	rate := s.node.Store().Settings().GetRewrapPerSecond()
	rest := max(took, time.Duration(n)*time.Second/time.Duration(max(rate, 1))-took)
	select {
	case <-time.After(rest):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
