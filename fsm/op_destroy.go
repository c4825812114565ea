package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

// destroy makes one version, or with 0 all, unreadable for good.
func (x *access) destroy(op *fsmpb.Destroy) *fsmpb.Result {
	r, refused := x.change(op.GetPath(), op.GetScope(), mayDestroy)
	if refused != nil {
		return refused
	}
	x.version = op.GetVersion()
	if !r.present() {
		return notFound()
	}
	if op.GetVersion() != 0 {
		v := r.version(op.GetVersion())
		switch {
		case v == nil:
			return notFound()
		case v.GetDestroyed():
			return gone()
		}
		x.destroyVersion(r, v)
	} else {
		x.purge(r)
	}
	x.note(r, fsmpb.Change_KIND_DESTROY, op.GetVersion())
	return x.remember(r, x.written(r, op.GetVersion()))
}

// destroyVersion drops one version; with the last one the record goes.
func (x *access) destroyVersion(r *record, v *fsmpb.VersionMeta) {
	x.dropVersion(r, v)
	if v.GetVersion() == r.head.GetRotation().GetPending() {
		r.head.Rotation = nil
	}
	if r.present() {
		x.save(r)
		return
	}
	r.owed.secrets--
	x.unlist(r.in.Scope, r.path)
	x.purge(r)
}
