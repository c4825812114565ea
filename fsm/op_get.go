package fsm

import (
	"bytes"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// get releases a version. Its bytes are read here, in the entry's own place: a
// later entry may prune or destroy them before the node answers.
func (x *access) get(op *fsmpb.Get) *fsmpb.Result {
	if op.GetScope() != "" {
		s, err := parseFullScope(op.GetScope(), x.st.trustDomain)
		if err != nil || !MayRead(x.caller, s) {
			return denied()
		}
	}
	g, refused := x.at(op)
	if refused != nil {
		return refused
	}
	x.version = op.GetVersion()
	v := g.version
	if g.head.GetDeletedAt() != 0 || v == nil || v.GetDestroyed() || x.ended(v) {
		return notFound()
	}
	if v.GetPending() && g.head.GetRotation().GetHolder() != x.caller.ID {
		return notFound()
	}
	x.version = v.GetVersion()
	res := granted()
	if x.capture {
		s := g.secret()
		if len(x.held) == 0 || !bytes.Equal(x.held, s.GetDigest()) {
			sealed, id := x.t.value(g.key, x.version)
			if s.Sealed = sealed; len(s.GetDigest()) == 0 {
				s.Digest, s.RequestId = identify(v, sealed, id)
			}
		}
		res.Value = &fsmpb.Result_Secret{Secret: s}
	}
	return res
}

// at is a glance at the version that a get asks for.
func (x *access) at(op *fsmpb.Get) (*glance, *fsmpb.Result) {
	if op.GetVersion() == 0 {
		return resolve(x, op.GetPath(), op.GetScope(), x.t.glance)
	}
	r, refused := resolve(x, op.GetPath(), op.GetScope(), x.t.look)
	if refused != nil {
		return nil, refused
	}
	return r.at(op.GetVersion()), nil
}
