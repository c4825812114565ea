package fsm

import (
	"slices"

	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// classes says which callers may make an access at all; which scopes they reach
// is the operation's own check.
func classes(op audit.Operation) []Class {
	switch op {
	case audit.OpGet:
		return []Class{ClassAgent}
	case audit.OpPut, audit.OpDelete, audit.OpUndelete, audit.OpDestroy,
		audit.OpRotateBegin, audit.OpRotateStage, audit.OpRotateCommit, audit.OpRotateAbort, audit.OpRotateSchedule:
		return []Class{ClassAgent, ClassProvisioner}
	case audit.OpList, audit.OpDescribe, audit.OpVersions, audit.OpWatch:
		return []Class{ClassAgent, ClassProvisioner, ClassOperator}
	case audit.OpAuditQuery, audit.OpAuditTail:
		return []Class{ClassAgent, ClassOperator, ClassAuditor}
	case audit.OpAuditVerify, audit.OpAuditCheckpoint:
		return []Class{ClassOperator, ClassAuditor}
	case audit.OpTokenCreate, audit.OpTokenList, audit.OpTokenRevoke, audit.OpMemberRemove, audit.OpMemberTransfer,
		audit.OpSettingsGet, audit.OpSettingsSet, audit.OpBlock, audit.OpUnblock, audit.OpBlockList,
		audit.OpKeyAdd, audit.OpKeysStatus:
		return []Class{ClassOperator}
	case audit.OpMemberJoin, audit.OpKeyRelease, audit.OpMemberPromote, audit.OpMemberLeave, audit.OpMemberAnnounce,
		audit.OpSweep, audit.OpThrottled, audit.OpKeyDurable, audit.OpKeyActivate, audit.OpKeyRewrap, audit.OpKeyUse:
		return []Class{ClassNode}
	}
	return nil
}

// allowed checks the caller's class. A node must be a member, except to join.
func (x *access) allowed() bool {
	if !slices.Contains(classes(x.op), x.caller.Class) {
		return false
	}
	if x.caller.Class != ClassNode || x.op == audit.OpMemberJoin {
		return true
	}
	m := x.st.member(x.caller.Name)
	return m != nil && !m.GetRemoved()
}

// isBlocked looks for the exact ID, its agent and its tenant.
func isBlocked(b *fsmpb.Blocked, c Caller) bool {
	subjects := b.GetSubjects()
	if len(subjects) == 0 {
		return false
	}
	has := func(s string) bool {
		_, found := slices.BinarySearch(subjects, s)
		return found
	}
	if has(c.ID) {
		return true
	}
	return c.Class == ClassAgent && (has("agent/"+c.Tenant+"/"+c.Agent) || has("agent/"+c.Tenant))
}
