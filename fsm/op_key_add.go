package fsm

import (
	"bytes"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// keyAdd begins a rotation; one of a kind at a time. The same request again gives
// the same key.
func (x *access) keyAdd(op *fsmpb.KeyAdd) *fsmpb.Result {
	x.detail = keyName(op.GetKind(), op.GetKeyId())
	for _, k := range x.st.keys.GetKeys() {
		if k.GetKind() == op.GetKind() && bytes.Equal(k.GetRequestId(), x.a.GetRequestId()) && k.GetState() != fsmpb.Key_STATE_ABANDONED {
			x.detail = keyName(k.GetKind(), k.GetId())
			res := x.keySet(k)
			res.Outcome = fsmpb.Outcome_OUTCOME_REPLAYED
			return res
		}
	}
	switch {
	case x.st.keyIn(op.GetKind(), fsmpb.Key_STATE_PENDING) != nil, x.st.key(op.GetKind(), op.GetKeyId()) != nil:
		return conflict()
	case len(x.st.keys.GetKeys()) >= maxKeys:
		return outcome(fsmpb.Outcome_OUTCOME_QUOTA)
	}
	k := &fsmpb.Key{
		Kind: op.GetKind(), Id: op.GetKeyId(), State: fsmpb.Key_STATE_PENDING, CreatedAt: x.st.time, RequestId: x.a.GetRequestId(),
	}
	x.st.addKey(k)
	return x.keySet(k)
}
