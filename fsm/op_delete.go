package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

// delete hides a record; within the window it can be undeleted, then a sweep
// destroys it.
func (x *access) delete(op *fsmpb.Delete) *fsmpb.Result {
	r, refused := x.change(op.GetPath(), op.GetScope(), mayWrite)
	if refused != nil {
		return refused
	}
	if !r.present() || r.head.GetDeletedAt() != 0 {
		return notFound()
	}
	r.head.DeletedAt = x.st.time
	x.disarm(r)
	x.save(r)
	x.forgetSibling(r.in.Scope, r.path)
	x.expire(x.st.time+x.limits.GetUndeleteWindow(), &fsmpb.Expiry{
		Kind: fsmpb.Expiry_KIND_DELETED, Key: r.key, DeletedAt: r.head.GetDeletedAt(),
	})
	x.version = r.current()
	x.note(r, fsmpb.Change_KIND_DELETE, x.version)
	return x.remember(r, x.written(r, x.version))
}

// change is what all mutations of a record begin with: the scope, who owns the
// record, the request id.
func (x *access) change(path, scope string, may func(Caller, Scope) bool) (*record, *fsmpb.Result) {
	s, err := parseFullScope(scope, x.st.trustDomain)
	if err != nil || !may(x.caller, s) {
		return nil, denied()
	}
	r := x.record(s, path)
	if !x.mayChange(r) {
		return nil, denied()
	}
	if old := x.remembered(r); old != nil {
		return nil, old
	}
	return r, nil
}
