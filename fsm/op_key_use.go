package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

// keyUse records whether the calling node has anything sealed with a storage key
// that seals no more. A key that no member uses is retired; one that came back
// with a snapshot is not.
func (x *access) keyUse(op *fsmpb.KeyUse) *fsmpb.Result {
	x.detail = keyName(fsmpb.Key_KIND_STORAGE, op.GetKeyId())
	if op.GetUsed() {
		x.detail += " used"
	} else {
		x.detail += " unused"
	}
	k := x.st.key(fsmpb.Key_KIND_STORAGE, op.GetKeyId())
	if k == nil {
		return notFound()
	}
	if k.GetState() != fsmpb.Key_STATE_REPLACED && k.GetState() != fsmpb.Key_STATE_RETIRED {
		return conflict()
	}
	x.st.changeKey(k, func(k *fsmpb.Key) {
		if op.GetUsed() {
			k.UnusedBy = withoutID(k.GetUnusedBy(), x.caller.Name)
		} else {
			k.UnusedBy = withID(k.GetUnusedBy(), x.caller.Name)
		}
	})
	k = x.st.key(fsmpb.Key_KIND_STORAGE, op.GetKeyId())
	x.st.settle(k, !op.GetUsed() && (k.GetState() == fsmpb.Key_STATE_RETIRED || x.st.held(k.GetUnusedBy())))
	return granted()
}
