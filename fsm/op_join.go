package fsm

import (
	"bytes"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// join admits the calling node. The same node, token, key and address again get
// the same answer; an existing member is never changed; a removed one never
// comes back under its ID.
func (x *access) join(op *fsmpb.Join) *fsmpb.Result {
	x.detail = x.caller.Name
	m := x.st.member(x.caller.Name)
	if m != nil {
		switch {
		case m.GetRemoved():
			return denied()
		case m.GetAddress() == op.GetAddress() && bytes.Equal(m.GetAuditKey(), op.GetAuditKey()) &&
			bytes.Equal(m.GetTokenHash(), op.GetTokenHash()):
			return x.joinGrant()
		}
		return conflict()
	}
	if !x.limits.GetJoinWithoutToken() && !x.useToken(op.GetTokenHash(), x.caller.Name) {
		return denied()
	}
	x.st.setMember(&fsmpb.Member{
		Id: x.caller.Name, Address: op.GetAddress(), AuditKey: op.GetAuditKey(), JoinedAt: x.st.time, TokenHash: op.GetTokenHash(),
		JoinedRow: x.st.size,
	})
	return x.joinGrant()
}

func (x *access) joinGrant() *fsmpb.Result {
	grant := &fsmpb.JoinGrant{ClusterId: x.st.clusterID[:], TrustDomain: x.st.trustDomain}
	for _, m := range x.st.members.GetMembers() {
		if !m.GetRemoved() {
			grant.Members = append(grant.Members, &fsmpb.Member{Id: m.GetId(), Address: m.GetAddress()})
		}
	}
	res := granted()
	res.Value = &fsmpb.Result_JoinGrant{JoinGrant: grant}
	return res
}

// keyRelease records that a member is handed the keyring, or a key of it;
// allowed() has checked that it is one.
func (x *access) keyRelease(op *fsmpb.KeyRelease) *fsmpb.Result {
	x.detail = x.caller.Name
	if op.GetKind() != fsmpb.Key_KIND_UNSPECIFIED {
		x.detail += " " + keyName(op.GetKind(), op.GetKeyId())
		if k := x.st.key(op.GetKind(), op.GetKeyId()); k == nil || len(k.GetFingerprint()) == 0 {
			return notFound()
		}
	}
	return x.joinGrant()
}
