package api

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

// keysStatus shows what the log knows of keys, and what each member says of its
// own disk.
func (s *Server) keysStatus(ctx context.Context, _ *hexrv1.KeysStatusRequest) (*hexrv1.KeysStatusResponse, error) {
	r, _, err := s.decide(ctx, s.access(callOf(ctx), &fsmpb.Access{Op: &fsmpb.Access_KeysGet{KeysGet: &fsmpb.KeysGet{}}}))
	if err != nil {
		return nil, err
	}
	set := r.GetKeySet()
	uses := map[uint32][]*hexrv1.KeyUse{}
	if slices.ContainsFunc(set.GetKeys(), replacedStorage) {
		uses = s.backend.KeyUses(ctx)
	}
	resp := &hexrv1.KeysStatusResponse{}
	for _, k := range set.GetKeys() {
		key := s.keyInfo(k)
		if k.GetKind() == fsmpb.Key_KIND_VALUE {
			key.Versions = versionsUnder(k.GetId(), set.GetUses())
		}
		if replacedStorage(k) {
			key.Nodes = append(slices.Clone(uses[k.GetId()]), uses[0]...)
			slices.SortFunc(key.Nodes, func(a, b *hexrv1.KeyUse) int { return strings.Compare(a.GetNode(), b.GetNode()) })
		}
		resp.Keys = append(resp.Keys, key)
	}
	return resp, nil
}

func replacedStorage(k *fsmpb.Key) bool {
	return k.GetKind() == fsmpb.Key_KIND_STORAGE && k.GetState() == fsmpb.Key_STATE_REPLACED
}

func versionsUnder(id uint32, uses []*fsmpb.KeyUses) uint64 {
	for _, u := range uses {
		if u.GetKeyId() == id {
			return u.GetVersions()
		}
	}
	return 0
}

func (s *Server) keyInfo(k *fsmpb.Key) *hexrv1.Key {
	key := &hexrv1.Key{
		Kind: string(fsm.SealKind(k.GetKind())), Id: fmt.Sprintf("%08x", k.GetId()),
		State:     strings.ToLower(strings.TrimPrefix(k.GetState().String(), "STATE_")),
		CreatedAt: stamp(k.GetCreatedAt()), ActivatedAt: stamp(k.GetActivatedAt()), RetiredAt: stamp(k.GetRetiredAt()),
		HeldBy: k.GetHolders(),
	}
	if k.GetState() != fsmpb.Key_STATE_PENDING {
		return key
	}
	for _, m := range s.backend.Store().Members() {
		if !m.GetRemoved() && !slices.Contains(k.GetHolders(), m.GetId()) {
			key.WaitingFor = append(key.WaitingFor, m.GetId())
		}
	}
	return key
}

// rotateKeys begins a rotation of each kind that is asked for. The keys are made
// by whoever leads, and never pass the log.
func (s *Server) rotateKeys(ctx context.Context, req *hexrv1.RotateKeysRequest) (*hexrv1.RotateKeysResponse, error) {
	kinds := []seal.KeyKind{seal.KeyKind(req.GetKind())}
	if req.GetKind() == "both" {
		kinds = []seal.KeyKind{seal.ValueKey, seal.StorageKey}
	}
	resp := &hexrv1.RotateKeysResponse{}
	for _, kind := range kinds {
		id, err := newKeyID()
		if err != nil {
			return nil, err
		}
		add := &fsmpb.KeyAdd{Kind: fsm.KeyKind(kind), KeyId: id}
		r, _, err := s.decide(ctx, s.access(callOf(ctx), &fsmpb.Access{Op: &fsmpb.Access_KeyAdd{KeyAdd: add}}))
		switch r.GetOutcome() {
		case fsmpb.Outcome_OUTCOME_CONFLICT:
			return nil, errRotating
		case fsmpb.Outcome_OUTCOME_QUOTA:
			return nil, errKeys
		}
		if err != nil {
			return nil, err
		}
		for _, k := range r.GetKeySet().GetKeys() {
			resp.Keys = append(resp.Keys, s.keyInfo(k))
		}
	}
	return resp, nil
}

func newKeyID() (uint32, error) {
	var b [4]byte
	for binary.BigEndian.Uint32(b[:]) == 0 {
		if _, err := rand.Read(b[:]); err != nil {
			return 0, err
		}
	}
	return binary.BigEndian.Uint32(b[:]), nil
}
