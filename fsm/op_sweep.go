package fsm

import (
	"encoding/binary"
	"slices"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const maxSweep = 1000

// sweep ends what time has ended, the oldest first, up to the limit: remembered
// requests, deleted records past their window, tokens, the grace of versions that
// were rotated away, the time until a rotation is due.
func (x *access) sweep(op *fsmpb.Sweep) *fsmpb.Result {
	var due [][]byte
	more := false
	x.t.expiries(func(key []byte) bool {
		if int64(binary.BigEndian.Uint64(key)) > x.st.time {
			return false
		}
		if more = len(due) == int(op.GetLimit()); more {
			return false
		}
		due = append(due, slices.Clone(key))
		return true
	})
	destroyed := uint32(0)
	for _, key := range due {
		var e fsmpb.Expiry
		if x.t.get(tableExpiry, key, &e) && x.end(&e) {
			destroyed++
		}
		x.t.del(tableExpiry, key)
	}
	x.version = uint64(destroyed)
	res := granted()
	res.Value = &fsmpb.Result_Swept{Swept: &fsmpb.Swept{Destroyed: destroyed, More: more}}
	return res
}

// end reports whether a secret was destroyed.
func (x *access) end(e *fsmpb.Expiry) bool {
	switch e.GetKind() {
	case fsmpb.Expiry_KIND_REQUEST:
		var old fsmpb.Remembered
		if !x.t.get(tableRequest, e.GetKey(), &old) {
			return false
		}
		if until := old.GetTime() + x.limits.GetRequestWindow(); until > x.st.time {
			x.expire(until, e) // the window was made longer meanwhile
			return false
		}
		x.t.del(tableRequest, e.GetKey())
	case fsmpb.Expiry_KIND_TOKEN:
		x.dropToken(e.GetKey())
	case fsmpb.Expiry_KIND_DELETED:
		r := x.recordOf(e.GetKey())
		if r == nil || r.head.GetDeletedAt() != e.GetDeletedAt() {
			return false
		}
		x.purge(r)
		x.note(r, fsmpb.Change_KIND_DESTROY, 0)
		return true
	case fsmpb.Expiry_KIND_ROTATION:
		x.fallDue(e.GetKey())
	case fsmpb.Expiry_KIND_GRACE:
		return x.endGrace(e.GetKey())
	}
	return false
}
