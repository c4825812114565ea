package fsm

import (
	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

func (x *access) memberPromote(op *fsmpb.MemberPromote) *fsmpb.Result {
	x.detail = op.GetNodeId()
	if m := x.st.member(op.GetNodeId()); m == nil || m.GetRemoved() {
		return notFound()
	}
	return granted()
}

func (x *access) memberTransfer(op *fsmpb.MemberTransfer) *fsmpb.Result {
	x.detail = op.GetNodeId()
	if op.GetNodeId() == "" {
		return granted()
	}
	if m := x.st.member(op.GetNodeId()); m == nil || m.GetRemoved() {
		return notFound()
	}
	return granted()
}

func (x *access) memberRemove(op *fsmpb.MemberRemove) *fsmpb.Result { return x.remove(op.GetNodeId()) }

func (x *access) memberLeave() *fsmpb.Result { return x.remove(x.caller.Name) }

// remove marks a member as gone: raft is told after this is committed, and the
// keyring is never released to its ID again. The last member stays.
func (x *access) remove(id string) *fsmpb.Result {
	x.detail = id
	m := x.st.member(id)
	if m == nil || m.GetRemoved() {
		return notFound()
	}
	if x.st.present() == 1 {
		return conflict()
	}
	m = proto.Clone(m).(*fsmpb.Member)
	m.Removed = true
	x.st.setMember(m)
	x.st.unmark(id)
	return granted()
}

func (x *access) memberAnnounce(op *fsmpb.MemberAnnounce) *fsmpb.Result {
	x.detail = x.caller.Name
	m := proto.Clone(x.st.member(x.caller.Name)).(*fsmpb.Member)
	m.Address = op.GetAddress()
	x.st.setMember(m)
	return granted()
}
