package fsm

import "github.com/hexrdev/hexrd/fsm/fsmpb"

// An agent sees the rows of exactly its own ID; a query for another's is denied.
func (x *access) auditGrant(caller string) *fsmpb.Result {
	if x.caller.Class == ClassAgent {
		if caller != "" && caller != x.caller.ID {
			return denied()
		}
		caller = x.caller.ID
	}
	res := granted()
	res.Value = &fsmpb.Result_AuditGrant{AuditGrant: &fsmpb.AuditGrant{Size: x.st.size, Caller: caller}}
	return res
}

func (x *access) auditQuery(op *fsmpb.AuditQuery) *fsmpb.Result { return x.auditGrant(op.GetCaller()) }

func (x *access) auditTail(op *fsmpb.AuditTail) *fsmpb.Result { return x.auditGrant(op.GetCaller()) }

func (x *access) auditVerify() *fsmpb.Result { return x.auditGrant("") }

// throttled records how many attempts of a caller its node turned away.
func (x *access) throttled(op *fsmpb.ThrottleSummary) *fsmpb.Result {
	x.detail, x.version = op.GetSubject(), op.GetCount()
	return granted()
}
