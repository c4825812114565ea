package fsm

import (
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// put writes the next version.
func (x *access) put(op *fsmpb.Put) *fsmpb.Result {
	s, err := parseFullScope(op.GetScope(), x.st.trustDomain)
	if err != nil || !mayWrite(x.caller, s) {
		return denied()
	}
	r := x.record(s, op.GetPath())
	if !x.mayChange(r) {
		return denied()
	}
	if old := x.remembered(r); old != nil {
		return old
	}
	if refused := x.checkPut(op, r); refused != nil {
		return refused
	}
	x.write(op, r)
	x.version = r.head.GetVersion()
	return x.remember(r, x.written(r, x.version))
}

// mayChange: what a provisioner put last is changed only by provisioners.
func (x *access) mayChange(r *record) bool {
	return x.caller.Class == ClassProvisioner || !r.present() || !r.head.GetByProvisioner()
}

func (x *access) checkPut(op *fsmpb.Put, r *record) *fsmpb.Result {
	if op.GetSize() > x.limits.GetValueMaxBytes() || uint64(len(op.GetLabels())) > x.limits.GetLabelsMax() {
		return invalid()
	}
	if op.ExpectedVersion != nil {
		live := uint64(0)
		if r.live() {
			live = r.current()
		}
		if op.GetExpectedVersion() != live {
			x.version = live
			return conflict()
		}
	}
	if x.shadowed(r) {
		return outcome(fsmpb.Outcome_OUTCOME_SHADOWED)
	}
	secrets := uint64(1)
	if r.present() {
		secrets = 0
	}
	if !x.room(r.in.Scope, secrets, op.GetSize()) {
		return outcome(fsmpb.Outcome_OUTCOME_QUOTA)
	}
	return nil
}

// shadowed: an agent that writes to its agent's scope would not read what it
// wrote, since its own process's record comes first.
func (x *access) shadowed(r *record) bool {
	if x.caller.Class != ClassAgent || r.in.Kind() != ScopeAgent {
		return false
	}
	return x.t.glance(x.reads[0], r.path).present()
}

func (x *access) write(op *fsmpb.Put, r *record) {
	if r.head.GetDeletedAt() != 0 { // a put ends a deletion: what was deleted does not come back
		x.empty(r)
	}
	fresh, old := !r.present(), r.version(0)
	if r.head == nil {
		r.head = &fsmpb.Head{Path: r.path, Scope: r.in.text, CreatedAt: x.st.time}
	}
	v := x.addVersion(r, op.GetSealed(), op.GetSize(), op.GetLabels())
	r.head.ByProvisioner = x.caller.Class == ClassProvisioner
	if op.Rotation != nil {
		r.head.Period = op.GetRotation()
	}
	x.setCurrent(r, old, v)
	if fresh {
		r.owed.secrets++
		x.enlist(r.in.Scope, r.path)
	}
	x.prune(r)
	x.save(r)
	x.note(r, fsmpb.Change_KIND_PUT, r.head.Version)
	x.rememberSibling(r.in.Scope, r.path)
}

func (x *access) written(r *record, version uint64) *fsmpb.Result {
	res := granted()
	res.Value = &fsmpb.Result_Written{Written: &fsmpb.Written{
		Path: r.path, Scope: r.in.text, Version: version, Time: x.st.time,
	}}
	return res
}
