package node

import (
	"bytes"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// digestsOf tells the leader which values this node holds; nil: none.
func digestsOf(found []*fsmpb.Secret) (digests [][]byte) {
	for i, s := range found {
		if len(s.GetSealed()) == 0 {
			continue
		}
		if digests == nil {
			digests = make([][]byte, len(found))
		}
		digests[i] = s.GetDigest()
	}
	return digests
}

// fillHeld completes results whose values were not sent.
func fillHeld(found []*fsmpb.Secret, results []*fsmpb.Result) {
	for i, f := range found {
		if s := results[i].GetSecret(); s != nil && len(s.GetSealed()) == 0 && holds(f.GetDigest(), s) {
			s.Sealed = f.GetSealed()
		}
	}
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
