package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

// keyActivate makes a pending key the one that seals, once every member holds it.
func (x *access) keyActivate(op *fsmpb.KeyActivate) *fsmpb.Result {
	x.detail = keyName(op.GetKind(), op.GetKeyId())
	k := x.st.key(op.GetKind(), op.GetKeyId())
	switch {
	case k == nil:
		return notFound()
	case k.GetState() != fsmpb.Key_STATE_PENDING || !x.st.held(k.GetHolders()):
		return conflict()
	}
	if old := x.st.keyIn(op.GetKind(), fsmpb.Key_STATE_ACTIVE); old != nil {
		x.st.changeKey(old, func(k *fsmpb.Key) { k.State = fsmpb.Key_STATE_REPLACED })
		if op.GetKind() == fsmpb.Key_KIND_VALUE {
			x.st.settle(x.st.key(op.GetKind(), old.GetId()), x.st.usesOf(old.GetId()) == 0)
		}
	}
	x.st.changeKey(k, func(k *fsmpb.Key) { k.State, k.ActivatedAt = fsmpb.Key_STATE_ACTIVE, x.st.time })
	return granted()
}
