package fsm

import (
	"bytes"
	"strings"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// keyDurable records that the calling node holds keys. The first report of a
// pending key decides which key it is: of two nodes that made one, the second is
// refused, and gets the first one's. A report counts as a whole, or not.
func (x *access) keyDurable(op *fsmpb.KeyDurable) *fsmpb.Result {
	names := make([]string, 0, len(op.GetKeys()))
	for _, r := range op.GetKeys() {
		names = append(names, keyName(r.GetKind(), r.GetKeyId()))
	}
	x.detail = strings.Join(names, ", ")
	for _, r := range op.GetKeys() {
		k := x.st.key(r.GetKind(), r.GetKeyId())
		if k == nil || k.GetState() == fsmpb.Key_STATE_ABANDONED {
			return notFound()
		}
		if len(k.GetFingerprint()) > 0 && !bytes.Equal(k.GetFingerprint(), r.GetFingerprint()) {
			return conflict()
		}
	}
	for _, r := range op.GetKeys() {
		x.st.changeKey(x.st.key(r.GetKind(), r.GetKeyId()), func(k *fsmpb.Key) {
			k.Fingerprint, k.Holders = r.GetFingerprint(), withID(k.GetHolders(), x.caller.Name)
		})
	}
	return granted()
}
