package node

import (
	"bytes"
	"encoding/binary"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/internal/doorkeeper"
)

const (
	// heldMost values of up to heldSize bytes are held: 16 MiB at most.
	heldMost = 4096
	heldSize = 4 << 10
)

// held is what a follower was sent again and again for gets, sealed as it came: the leader, told
// of it, decides the same and sends the value only where it is another one. Whether a
// get is granted, and which version, the log alone decides.
type held struct {
	values *lru.Cache[heldKey, *fsmpb.Secret]
	door   *doorkeeper.Doorkeeper
}

type heldKey struct {
	caller, path, scope string
	version             uint64
}

func newHeld() (*held, error) {
	values, err := lru.New[heldKey, *fsmpb.Secret](heldMost)
	return &held{values, doorkeeper.New()}, err
}

func keyOf(a *fsmpb.Access) (heldKey, bool) {
	get := a.GetGet()
	if get == nil {
		return heldKey{}, false
	}
	return heldKey{a.GetCaller(), get.GetPath(), get.GetScope(), get.GetVersion()}, true
}

// find returns what is held for accesses, nil for each without, and the digests that
// say so to the leader.
func (h *held) find(accesses []*fsmpb.Access) (found []*fsmpb.Secret, digests [][]byte) {
	found = make([]*fsmpb.Secret, len(accesses))
	for i, a := range accesses {
		key, ok := keyOf(a)
		if !ok {
			continue
		}
		if s, ok := h.values.Get(key); ok {
			if digests == nil {
				digests = make([][]byte, len(accesses))
			}
			found[i], digests[i] = s, s.GetDigest()
		}
	}
	return found, digests
}

// fill completes results whose values were not sent, and holds those that were.
func (h *held) fill(accesses []*fsmpb.Access, found []*fsmpb.Secret, results []*fsmpb.Result) {
	for i, a := range accesses {
		key, ok := keyOf(a)
		s := results[i].GetSecret()
		if !ok || s == nil {
			continue
		}
		switch size := len(s.GetSealed()); {
		case size == 0 && holds(found[i].GetDigest(), s):
			s.Sealed = found[i].GetSealed()
		case size > 0 && size <= heldSize && h.again(s.GetDigest()):
			h.values.Add(key, &fsmpb.Secret{Digest: s.GetDigest(), Sealed: s.GetSealed()})
		}
	}
}

// again: a version of that digest was sent lately, too.
func (h *held) again(digest []byte) bool {
	return len(digest) >= 8 && h.door.Again(binary.BigEndian.Uint64(digest))
}

func holds(digest []byte, s *fsmpb.Secret) bool {
	return len(digest) > 0 && bytes.Equal(digest, s.GetDigest())
}

// dropHeld leaves out the values that the proposing node holds.
func dropHeld(results []*fsmpb.Result, digests [][]byte) {
	for i, d := range digests {
		if s := results[i].GetSecret(); s != nil && holds(d, s) {
			s.Sealed = nil
		}
	}
}
