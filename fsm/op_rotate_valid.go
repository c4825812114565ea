package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

const maxLease = hour

// validateRotation checks watches and the steps of a rotation; done: it was one.
func validateRotation(a *fsmpb.Access, trustDomain string) (done bool, err error) {
	switch op := a.GetOp().(type) {
	case *fsmpb.Access_Watch:
		return true, validateWatch(op.Watch, trustDomain)
	case *fsmpb.Access_RotateBegin:
		if ttl := op.RotateBegin.GetTtl(); ttl <= 0 || ttl > maxLease {
			return true, refuse("time of the lease")
		}
		return true, validateChange(a, op.RotateBegin.GetPath(), op.RotateBegin.GetScope(), trustDomain)
	case *fsmpb.Access_RotateStage:
		if err := validValue(op.RotateStage.GetSealed(), op.RotateStage.GetSize(), op.RotateStage.GetLabels()); err != nil {
			return true, err
		}
		return true, validateChange(a, op.RotateStage.GetPath(), op.RotateStage.GetScope(), trustDomain)
	case *fsmpb.Access_RotateCommit:
		if grace := op.RotateCommit.GetGrace(); grace < 0 || grace > maxPeriod || op.RotateCommit.GetVersion() == 0 {
			return true, refuse("grace or version")
		}
		return true, validateChange(a, op.RotateCommit.GetPath(), op.RotateCommit.GetScope(), trustDomain)
	case *fsmpb.Access_RotateAbort:
		return true, validateChange(a, op.RotateAbort.GetPath(), op.RotateAbort.GetScope(), trustDomain)
	case *fsmpb.Access_RotateSchedule:
		if !ValidPeriod(op.RotateSchedule.GetPeriod()) {
			return true, refuse("rotation")
		}
		return true, validateChange(a, op.RotateSchedule.GetPath(), op.RotateSchedule.GetScope(), trustDomain)
	}
	return false, nil
}

func validateWatch(w *fsmpb.Watch, trustDomain string) error {
	if _, err := ParsePrefix(w.GetPrefix()); err != nil {
		return refuse("prefix")
	}
	if w.GetPath() != "" {
		if _, err := ParsePath(w.GetPath()); err != nil || w.GetPrefix() != "" {
			return refuse("path")
		}
	}
	return validScope(w.GetScope(), trustDomain, true)
}
