package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

// get releases a version. Its bytes are read here, in the entry's own place: a
// later entry may prune or destroy them before the node answers.
func (x *access) get(op *fsmpb.Get) *fsmpb.Result {
	if op.GetScope() != "" {
		s, err := parseFullScope(op.GetScope(), x.st.trustDomain)
		if err != nil || !MayRead(x.caller, s) {
			return denied()
		}
	}
	r, refused := x.resolve(op.GetPath(), op.GetScope())
	if refused != nil {
		return refused
	}
	x.version = op.GetVersion()
	v := r.version(op.GetVersion())
	if r.head.GetDeletedAt() != 0 || v == nil || v.GetDestroyed() || x.ended(v) {
		return notFound()
	}
	if v.GetPending() && r.head.GetRotation().GetHolder() != x.caller.ID {
		return notFound()
	}
	x.version = v.GetVersion()
	s := r.secret(v)
	if x.capture {
		var value fsmpb.Value
		x.t.get(tableValue, r.valueKey(v.GetVersion()), &value)
		s.Sealed = value.GetSealed()
	}
	res := granted()
	res.Value = &fsmpb.Result_Secret{Secret: s}
	return res
}
