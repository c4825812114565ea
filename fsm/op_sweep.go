package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

const maxSweep = 1000

// sweep ends what time has ended, the oldest first, up to the limit: remembered
// requests, deleted records past their window, tokens, the grace of versions that
// were rotated away, the time until a rotation is due.
func (x *access) sweep(op *fsmpb.Sweep) *fsmpb.Result {
	destroyed := uint32(0)
	dues, more := x.t.due(x.st.time, int(op.GetLimit()))
	for _, d := range dues {
		if x.endDue(d) {
			destroyed++
		}
		x.t.ended(d)
	}
	x.version = uint64(destroyed)
	res := granted()
	res.Value = &fsmpb.Result_Swept{Swept: &fsmpb.Swept{Destroyed: destroyed, More: more}}
	return res
}

// endDue reports whether a secret was destroyed.
func (x *access) endDue(d due) bool {
	if d.request != nil {
		x.endRequest(d)
		return false
	}
	var e fsmpb.Expiry
	if !x.t.get(tableExpiry, d.key, &e) {
		return false
	}
	switch e.GetKind() {
	case fsmpb.Expiry_KIND_REQUEST:
		d.request = e.GetKey()
		x.endRequest(d)
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

func (x *access) endRequest(d due) {
	var m fsmpb.Remembered
	since, known := d.since, d.since != 0
	if !known {
		if !x.t.recall(d.request, &m) {
			return
		}
		since = m.GetTime()
	}
	until := since + x.limits.GetRequestWindow()
	switch {
	case until <= x.st.time:
		x.t.forget(d)
	case !known || x.t.recall(d.request, &m): // the window was made longer meanwhile
		x.keep(d.request, &m, until)
	}
}
