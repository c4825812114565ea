package fsm

import (
	"bytes"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

const (
	maxRewraps    = 512
	maxWrapped    = 256
	recordKeySize = 32
)

// keyRewrap puts versions' data keys under the active value key. Each item is a
// compare-and-set on the digest of the sealed value: what was written, rewrapped
// or destroyed meanwhile is left alone. The row has the number that was done.
func (x *access) keyRewrap(op *fsmpb.KeyRewrap) *fsmpb.Result {
	x.detail = keyName(fsmpb.Key_KIND_VALUE, op.GetKeyId())
	if k := x.st.key(fsmpb.Key_KIND_VALUE, op.GetKeyId()); k.GetState() != fsmpb.Key_STATE_ACTIVE {
		return conflict()
	}
	done := uint32(0)
	for _, item := range op.GetItems() {
		if x.rewrap(op.GetKeyId(), item) {
			done++
		}
	}
	x.version = uint64(done)
	res := granted()
	res.Value = &fsmpb.Result_Rewrapped{Rewrapped: &fsmpb.Rewrapped{Done: done}}
	return res
}

func (x *access) rewrap(key uint32, item *fsmpb.Rewrap) bool {
	r := x.recordOf(item.GetRecord())
	if r == nil {
		return false
	}
	v := r.version(item.GetVersion())
	if v == nil || v.GetDestroyed() {
		return false
	}
	old, id := x.t.value(r.key, v.GetVersion())
	digest, id := identify(v, old, id)
	if !bytes.Equal(digest, item.GetDigest()) {
		return false
	}
	sealed, err := seal.WithWrappedKey(old, key, item.GetWrapped())
	if err != nil {
		return false
	}
	x.st.use(v.GetValueKey(), -1)
	x.st.use(key, 1)
	v.ValueKey, v.Apart = key, true
	if v.Digest, v.RequestId = identify(v, sealed, id); v.GetVersion() != r.current() {
		setApart(v)
	}
	x.t.set(tableValue, valueKey(r.key, v.GetVersion()), &fsmpb.Value{Sealed: sealed, RequestId: id})
	x.save(r)
	return true
}

func validRewrap(op *fsmpb.KeyRewrap) error {
	if op.GetKeyId() == 0 || len(op.GetItems()) == 0 || len(op.GetItems()) > maxRewraps {
		return refuse("number of versions")
	}
	for _, i := range op.GetItems() {
		if len(i.GetRecord()) != recordKeySize || i.GetVersion() == 0 || len(i.GetDigest()) != digestSize || len(i.GetWrapped()) > maxWrapped {
			return refuse("version")
		}
	}
	return nil
}
