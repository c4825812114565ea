package fsm

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// opField is the choice between operations.
var opField = (&fsmpb.Access{}).ProtoReflect().Descriptor().Oneofs().ByName("op")

// operations maps the field number of an access's operation to the audit's.
var operations = map[protoreflect.FieldNumber]audit.Operation{
	20: audit.OpBootstrap,
	21: audit.OpGet,
	22: audit.OpPut,
	23: audit.OpList,
	24: audit.OpDelete,
	25: audit.OpUndelete,
	26: audit.OpDestroy,
	27: audit.OpDescribe,
	28: audit.OpVersions,
	29: audit.OpAuditQuery,
	30: audit.OpAuditTail,
	31: audit.OpAuditVerify,
	32: audit.OpTokenCreate,
	33: audit.OpTokenList,
	34: audit.OpTokenRevoke,
	35: audit.OpMemberJoin,
	36: audit.OpKeyRelease,
	37: audit.OpMemberPromote,
	38: audit.OpMemberRemove,
	39: audit.OpMemberTransfer,
	40: audit.OpMemberLeave,
	41: audit.OpMemberAnnounce,
	42: audit.OpSettingsGet,
	43: audit.OpSettingsSet,
	44: audit.OpBlock,
	45: audit.OpUnblock,
	46: audit.OpBlockList,
	47: audit.OpSweep,
	48: audit.OpThrottled,
	49: audit.OpKeyAdd,
	50: audit.OpKeyDurable,
	51: audit.OpKeyActivate,
	52: audit.OpKeyRewrap,
	53: audit.OpKeyUse,
	54: audit.OpKeysStatus,
	55: audit.OpAuditCheckpoint,
	60: audit.OpWatch,
	61: audit.OpRotateBegin,
	62: audit.OpRotateStage,
	63: audit.OpRotateCommit,
	64: audit.OpRotateAbort,
	65: audit.OpRotateSchedule,
}

// ReadOnly reports whether an access shows what is there, and changes nothing
// but the audit.
func ReadOnly(a *fsmpb.Access) bool {
	switch OperationOf(a) {
	case audit.OpGet, audit.OpList, audit.OpDescribe, audit.OpVersions, audit.OpAuditQuery, audit.OpAuditTail, audit.OpAuditVerify,
		audit.OpAuditCheckpoint, audit.OpTokenList, audit.OpSettingsGet, audit.OpBlockList, audit.OpKeysStatus:
		return true
	}
	return false
}
