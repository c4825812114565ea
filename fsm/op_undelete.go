package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

// undelete makes a deleted record live again, within the window.
func (x *access) undelete(op *fsmpb.Undelete) *fsmpb.Result {
	r, refused := x.change(op.GetPath(), op.GetScope(), mayWrite)
	if refused != nil {
		return refused
	}
	switch {
	case r.head == nil:
		return notFound()
	case !r.present():
		return gone()
	case r.head.GetDeletedAt() == 0:
		return conflict()
	case x.st.time-r.head.GetDeletedAt() > x.limits.GetUndeleteWindow():
		return gone()
	}
	r.head.DeletedAt = 0
	x.arm(r)
	x.save(r)
	x.rememberSibling(r.in.Scope, r.path)
	x.version = r.current()
	x.note(r, fsmpb.Change_KIND_UNDELETE, x.version)
	return x.remember(r, x.written(r, x.version))
}
