package fsm

import (
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// bootstrap begins a cluster: its trust domain, settings and first member. It is
// the first access of all, and refused later.
func (x *access) bootstrap(op *fsmpb.Bootstrap) *fsmpb.Result {
	if x.st.trustDomain != "" || x.st.size != 0 {
		return conflict()
	}
	caller, err := ParseCaller(x.a.GetCaller(), op.GetTrustDomain())
	if err != nil || caller.Class != ClassNode || caller.Name != op.GetMember().GetId() {
		return invalid()
	}
	x.caller = caller
	x.st.trustDomain = op.GetTrustDomain()
	if op.GetSettings() != nil {
		x.st.settings = op.GetSettings()
	}
	x.st.dirtySettings = true
	m := op.GetMember()
	x.st.setMember(&fsmpb.Member{Id: m.GetId(), Address: m.GetAddress(), AuditKey: m.GetAuditKey(), JoinedAt: x.st.time})
	x.detail = m.GetId()
	return granted()
}
