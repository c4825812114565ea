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
	for _, k := range op.GetKeys() {
		x.st.addKey(&fsmpb.Key{
			Kind: k.GetKind(), Id: k.GetKeyId(), State: fsmpb.Key_STATE_ACTIVE, CreatedAt: x.st.time, ActivatedAt: x.st.time,
			Fingerprint: k.GetFingerprint(), Holders: []string{m.GetId()},
		})
	}
	x.detail = m.GetId()
	return granted()
}
