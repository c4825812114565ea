package fsm

import (
	"slices"
	"strconv"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// A rotation: a caller takes the record's lease, stages a pending version, and
// commits it by compare-and-set or gives up. The lease's generation is a fencing
// token: who lost the lease can change nothing any more, however late it comes. A
// lease that ended and that nobody took is still good.

// rotateBegin takes the lease, an ended one over, or keeps it for longer. What
// the rotator before left pending is kept for the new one to judge.
func (x *access) rotateBegin(op *fsmpb.RotateBegin) *fsmpb.Result {
	r, refused := x.rotation(op.GetPath(), op.GetScope())
	if refused != nil {
		return refused
	}
	old := r.head.GetRotation()
	switch {
	case op.GetGeneration() != 0:
		return x.keepLease(r, op)
	case !r.live():
		return notFound()
	case old.GetLeaseUntil() > x.st.time:
		return heldResult()
	case x.shadowed(r):
		return outcome(fsmpb.Outcome_OUTCOME_SHADOWED)
	}
	provisioner := x.caller.Class == ClassProvisioner
	if old != nil && old.GetByProvisioner() != provisioner {
		x.dropPending(r) // neither may finish what the other made
		old = nil
	}
	r.head.Generation++
	r.head.Rotation = &fsmpb.Rotation{
		Holder: x.caller.ID, Generation: r.head.Generation, LeaseUntil: x.st.time + op.GetTtl(),
		Pending: old.GetPending(), Base: old.GetBase(), ByProvisioner: provisioner,
	}
	x.save(r)
	res := x.rotationState(r)
	res.GetRotation().Resumed = old.GetPending() != 0
	return x.remember(r, res)
}

func (x *access) keepLease(r *record, op *fsmpb.RotateBegin) *fsmpb.Result {
	if !x.holds(r, op.GetGeneration()) {
		return conflict()
	}
	r.head.Rotation.LeaseUntil = max(r.head.Rotation.GetLeaseUntil(), x.st.time+op.GetTtl())
	x.save(r)
	return x.remember(r, x.rotationState(r))
}

// rotation is what all steps begin with.
func (x *access) rotation(path, scope string) (*record, *fsmpb.Result) {
	r, refused := x.change(path, scope, mayWrite)
	if refused != nil {
		return nil, refused
	}
	if r.head.GetDeletedAt() != 0 || !r.present() {
		return nil, notFound()
	}
	return r, nil
}

// holds: the caller has the lease of that generation.
func (x *access) holds(r *record, generation uint64) bool {
	x.detail = "generation " + strconv.FormatUint(generation, 10)
	rot := r.head.GetRotation()
	return rot.GetGeneration() == generation && rot.GetHolder() == x.caller.ID
}

// rotateStage makes the pending version, relative to what is current now.
func (x *access) rotateStage(op *fsmpb.RotateStage) *fsmpb.Result {
	r, refused := x.rotation(op.GetPath(), op.GetScope())
	switch {
	case refused != nil:
		return refused
	case !x.holds(r, op.GetGeneration()):
		return conflict()
	case !r.live():
		return notFound()
	case op.GetSize() > x.limits.GetValueMaxBytes() || uint64(len(op.GetLabels())) > x.limits.GetLabelsMax():
		return invalid()
	case !x.room(r.in.Scope, 0, op.GetSize()):
		return outcome(fsmpb.Outcome_OUTCOME_QUOTA)
	}
	x.dropPending(r)
	labels := op.GetLabels()
	if len(labels) == 0 {
		labels = r.version(0).GetLabels()
	}
	base := r.current()
	v := x.addVersion(r, op.GetSealed(), op.GetSize(), labels)
	v.Pending = true
	setApart(v)
	r.head.Current = base
	r.head.Rotation.Pending, r.head.Rotation.Base = r.head.Version, base
	x.save(r)
	return x.remember(r, x.rotationState(r))
}

// dropPending destroys the pending version, if there is one.
func (x *access) dropPending(r *record) {
	v := r.version(r.head.GetRotation().GetPending())
	if v != nil && v.GetPending() {
		x.dropVersion(r, v)
	}
}

// rotateCommit makes the pending version current, where what it replaces still
// is: a put in between wins.
func (x *access) rotateCommit(op *fsmpb.RotateCommit) *fsmpb.Result {
	r, refused := x.rotation(op.GetPath(), op.GetScope())
	if refused != nil {
		return refused
	}
	if !x.holds(r, op.GetGeneration()) {
		return conflict()
	}
	rot, pending := r.head.GetRotation(), r.version(op.GetVersion())
	if rot.GetPending() != op.GetVersion() || !pending.GetPending() || rot.GetBase() != r.current() {
		x.version = r.current()
		res := conflict() // the lease is held, and the version is not what it was
		res.Value = &fsmpb.Result_Rotation{Rotation: &fsmpb.RotationState{Current: r.current()}}
		return res
	}
	state := &fsmpb.RotationState{Path: r.path, Scope: r.in.text, Current: op.GetVersion(), Pending: op.GetVersion()}
	old := r.version(0)
	if old != nil && !old.GetDestroyed() {
		old.ExpiresAt = x.st.time + op.GetGrace()
		x.expire(old.ExpiresAt, &fsmpb.Expiry{Kind: fsmpb.Expiry_KIND_GRACE, Key: r.key})
		state.Previous, state.PreviousUntil = old.GetVersion(), old.GetExpiresAt()
	}
	pending.Pending = false
	r.head.ByProvisioner = rot.GetByProvisioner()
	r.head.Rotation = nil
	x.setCurrent(r, old, pending)
	x.prune(r)
	x.save(r)
	x.note(r, fsmpb.Change_KIND_ROTATE, op.GetVersion())
	x.version = op.GetVersion()
	res := granted()
	res.Value = &fsmpb.Result_Rotation{Rotation: state}
	return x.remember(r, res)
}

// rotateAbort destroys what is pending, and gives the lease back.
func (x *access) rotateAbort(op *fsmpb.RotateAbort) *fsmpb.Result {
	r, refused := x.change(op.GetPath(), op.GetScope(), mayWrite)
	if refused != nil {
		return refused
	}
	if !x.holds(r, op.GetGeneration()) {
		return conflict()
	}
	res := x.rotationState(r)
	if v := r.version(r.head.GetRotation().GetPending()); v != nil && v.GetPending() {
		x.destroyVersion(r, v)
	}
	r.head.Rotation = nil
	x.save(r)
	return x.remember(r, res)
}

// rotateSchedule says how often the record is to be rotated.
func (x *access) rotateSchedule(op *fsmpb.RotateSchedule) *fsmpb.Result {
	r, refused := x.rotation(op.GetPath(), op.GetScope())
	if refused != nil {
		return refused
	}
	r.head.Period = op.GetPeriod()
	x.arm(r)
	x.save(r)
	res := granted()
	res.Value = &fsmpb.Result_Rotation{Rotation: &fsmpb.RotationState{
		Path: r.path, Scope: r.in.text, Current: r.current(), Period: r.head.GetPeriod(), DueAt: r.head.GetDueAt(),
	}}
	return x.remember(r, res)
}

// rotationState is the result of a step: what the lease's holder goes on with.
func (x *access) rotationState(r *record) *fsmpb.Result {
	rot := r.head.GetRotation()
	x.version, x.detail = rot.GetPending(), "generation "+strconv.FormatUint(rot.GetGeneration(), 10)
	res := granted()
	res.Value = &fsmpb.Result_Rotation{Rotation: &fsmpb.RotationState{
		Path: r.path, Scope: r.in.text, Generation: rot.GetGeneration(), Current: r.current(),
		Pending: rot.GetPending(), LeaseUntil: rot.GetLeaseUntil(),
	}}
	return res
}

// heldResult: another rotator is at work.
func heldResult() *fsmpb.Result {
	res := conflict()
	res.Value = &fsmpb.Result_Rotation{Rotation: &fsmpb.RotationState{Held: true}}
	return res
}

// endGrace destroys the versions whose grace is over; it reports whether there
// were any.
func (x *access) endGrace(key []byte) bool {
	r := x.recordOf(key)
	if r == nil {
		return false
	}
	destroyed := false
	for _, v := range slices.Clone(r.head.GetVersions()) {
		if x.ended(v) && !v.GetDestroyed() {
			x.destroyVersion(r, v)
			x.note(r, fsmpb.Change_KIND_DESTROY, v.GetVersion())
			destroyed = true
		}
	}
	return destroyed
}
