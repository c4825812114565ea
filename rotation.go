package hexrd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hexrdev/hexrd/cluster"
	"github.com/hexrdev/hexrd/cluster/clusterpb"
	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/node"
	"github.com/hexrdev/hexrd/seal"
)

const (
	keysInterval = time.Second
	maxKeysPause = 10 * time.Second
	keyTimeout   = 10 * time.Second
	keyReports   = 16 // of one access, at most
)

// keepKeys makes this node's keyring what the log says of the cluster's keys, and
// says in the log what it holds. Each step can be cut off and is done again: the
// state tells what is missing.
func (s *Server) keepKeys(ctx context.Context) {
	s.repeat(ctx, "a key of the keyring is not in place on this node yet: it is tried until it is", s.node.Store().Changed, s.followKeys)
}

// repeat does what is to be done whenever changed says so, and at least every
// second; less often while it fails. It logs the first failure of a row.
func (s *Server) repeat(ctx context.Context, complaint string, changed func() <-chan struct{}, do func(context.Context) error) {
	pause := keysInterval
	for {
		var wake <-chan struct{}
		if changed != nil {
			wake = changed()
		}
		err := do(ctx)
		switch {
		case err == nil:
			pause = keysInterval
		case ctx.Err() == nil:
			if pause == keysInterval {
				s.log.Warn(complaint, "error", err)
			}
			pause = min(2*pause, maxKeysPause)
		}
		timer := time.NewTimer(pause)
		select {
		case <-wake:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

func (s *Server) followKeys(ctx context.Context) error {
	if !s.joined() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	var report []*fsmpb.KeyReport
	var errs []error
	for _, k := range s.node.Store().Keys() {
		holds, err := s.followKey(ctx, k)
		errs = append(errs, err)
		if holds && !slices.Contains(k.GetHolders(), s.nodeID) && len(report) < keyReports {
			report = append(report, &fsmpb.KeyReport{Kind: k.GetKind(), KeyId: k.GetId(), Fingerprint: k.GetFingerprint()})
		}
	}
	if len(report) > 0 {
		errs = append(errs, s.sayDurable(ctx, report...))
	}
	return errors.Join(errs...)
}

// joined: the node is in raft's configuration, as voter or not.
func (s *Server) joined() bool {
	return slices.ContainsFunc(s.node.Servers(), func(srv node.Server) bool { return srv.ID == s.nodeID })
}

// followKey reports whether this node has the key that the log knows durably.
func (s *Server) followKey(ctx context.Context, k *fsmpb.Key) (bool, error) {
	kind, id, ring := fsm.SealKind(k.GetKind()), k.GetId(), s.keys.ring
	switch {
	case k.GetState() == fsmpb.Key_STATE_ABANDONED:
		return false, s.dropKey(ctx, kind, id)
	case len(k.GetFingerprint()) == 0:
		if !s.leads() {
			return false, nil
		}
		return false, s.makeKey(ctx, k)
	case !ring.Has(kind, id):
		if err := s.getKey(ctx, k); err != nil {
			return false, err
		}
	}
	if k.GetState() == fsmpb.Key_STATE_ACTIVE && s.precedes(ring.Active(kind), k) {
		if err := s.keys.change(ctx, func(r *seal.Keyring) error { return r.Activate(kind, id) }); err != nil {
			return true, fmt.Errorf("activate key: %w", err)
		}
		s.log.Info("a new key seals from now on", "kind", kind)
	}
	if k.GetState() == fsmpb.Key_STATE_PENDING && s.leads() && len(waitingFor(k, s.node.Store().Members())) == 0 {
		activate := &fsmpb.KeyActivate{Kind: k.GetKind(), KeyId: id}
		err := s.record(ctx, s.nodeID, &fsmpb.Access{Op: &fsmpb.Access_KeyActivate{KeyActivate: activate}})
		if err != nil && !overtaken(err) {
			return true, fmt.Errorf("activate key: %w", err)
		}
	}
	return true, nil
}

// precedes reports whether a key was added before another of its kind. After a
// kill the store may be behind the keyring for a moment: a key that the store
// does not know is a later one, and what seals never goes back.
func (s *Server) precedes(id uint32, than *fsmpb.Key) bool {
	for _, k := range s.node.Store().Keys() {
		if k.GetKind() != than.GetKind() {
			continue
		}
		switch {
		case k.GetId() == than.GetId():
			return false
		case k.GetId() == id:
			return true
		}
	}
	return false
}

// makeKey makes a pending key that nobody made yet. It is a candidate until the
// log takes it: another leader may have made one at the same time.
func (s *Server) makeKey(ctx context.Context, k *fsmpb.Key) error {
	kind, id := fsm.SealKind(k.GetKind()), k.GetId()
	fingerprint, made := s.keys.ring.CandidateFingerprint(kind, id)
	if !made {
		if err := s.keys.change(ctx, func(r *seal.Keyring) error { return r.NewCandidate(kind, id) }); err != nil {
			return fmt.Errorf("make key: %w", err)
		}
		fingerprint, _ = s.keys.ring.CandidateFingerprint(kind, id)
	}
	err := s.sayDurable(ctx, &fsmpb.KeyReport{Kind: k.GetKind(), KeyId: id, Fingerprint: fingerprint[:]})
	if overtaken(err) {
		return nil
	}
	return err
}

// overtaken: the log has moved on, and the state says what there is to do now.
func overtaken(err error) bool {
	var refusal *cluster.RefusalError
	return errors.As(err, &refusal) && refusal.Kind == clusterpb.Refusal_KIND_DENIED
}

func (s *Server) sayDurable(ctx context.Context, keys ...*fsmpb.KeyReport) error {
	return s.record(ctx, s.nodeID, &fsmpb.Access{Op: &fsmpb.Access_KeyDurable{KeyDurable: &fsmpb.KeyDurable{Keys: keys}}})
}

// getKey takes up this node's candidate where the log took it, and else gets the
// key from a member that holds it.
func (s *Server) getKey(ctx context.Context, k *fsmpb.Key) error {
	kind, id, want := fsm.SealKind(k.GetKind()), k.GetId(), [32]byte(k.GetFingerprint())
	if got, ok := s.keys.ring.CandidateFingerprint(kind, id); ok && got == want {
		return s.keys.change(ctx, func(r *seal.Keyring) error { return r.Promote(kind, id) })
	}
	errs := []error{errors.New("no member that holds the key answers")}
	for _, srv := range s.node.Servers() {
		if srv.ID == s.nodeID || !slices.Contains(k.GetHolders(), srv.ID) {
			continue
		}
		exported, err := s.peers.Key(ctx, srv.ID, srv.Address, string(kind), id)
		if err == nil {
			err = s.keys.change(ctx, func(r *seal.Keyring) error {
				if err := r.Drop(kind, id); err != nil { // a candidate that the log did not take
					return err
				}
				return r.ImportKey(kind, id, exported, want)
			})
			clear(exported)
		}
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("get key: %w", errors.Join(errs...))
}

func (s *Server) dropKey(ctx context.Context, kind seal.KeyKind, id uint32) error {
	_, candidate := s.keys.ring.CandidateFingerprint(kind, id)
	if !candidate && !s.keys.ring.Has(kind, id) {
		return nil
	}
	return s.keys.change(ctx, func(r *seal.Keyring) error { return r.Drop(kind, id) })
}

// waitingFor is the members that do not hold the key yet.
func waitingFor(k *fsmpb.Key, members []*fsmpb.Member) []string {
	var out []string
	for _, m := range members {
		if !m.GetRemoved() && !slices.Contains(k.GetHolders(), m.GetId()) {
			out = append(out, m.GetId())
		}
	}
	return out
}
