package api

import (
	"context"

	"google.golang.org/protobuf/proto"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/fsm"
)

// method is a line of the method table: who may call, how it is audited, what it
// does. An RPC without a line is refused, and fails a test.
type method struct {
	name    string
	classes []fsm.Class
	// audited is the operation of its row; 0: answered locally, without one.
	audited audit.Operation
	// handle is a unary method; nil: a stream, or served elsewhere (the nodes' own
	// Peer service).
	handle *handler
}

type handler struct {
	request func() proto.Message // a new one
	run     func(*Server, context.Context, proto.Message) (proto.Message, error)
}

var (
	agents   = []fsm.Class{fsm.ClassAgent}
	writers  = []fsm.Class{fsm.ClassAgent, fsm.ClassProvisioner}
	seers    = []fsm.Class{fsm.ClassAgent, fsm.ClassProvisioner, fsm.ClassOperator}
	readers  = []fsm.Class{fsm.ClassAgent, fsm.ClassOperator, fsm.ClassAuditor}
	checkers = []fsm.Class{fsm.ClassOperator, fsm.ClassAuditor}
	rulers   = []fsm.Class{fsm.ClassOperator}
	nodes    = []fsm.Class{fsm.ClassNode}
	everyone = []fsm.Class{fsm.ClassAgent, fsm.ClassProvisioner, fsm.ClassOperator, fsm.ClassAuditor, fsm.ClassNode}
)

func unary[Req, Resp proto.Message](fn func(*Server, context.Context, Req) (Resp, error)) *handler {
	var none Req
	return &handler{
		request: func() proto.Message { return none.ProtoReflect().New().Interface() },
		run: func(s *Server, ctx context.Context, req proto.Message) (proto.Message, error) {
			return fn(s, ctx, req.(Req))
		},
	}
}

// methodTable is all that a node answers.
func methodTable() map[string]*method {
	table := map[string]*method{}
	for _, m := range []*method{
		{hexrv1.Vault_Put_FullMethodName, writers, audit.OpPut, unary((*Server).put)},
		{hexrv1.Vault_Get_FullMethodName, agents, audit.OpGet, unary((*Server).get)},
		{hexrv1.Vault_BatchGet_FullMethodName, agents, audit.OpGet, unary((*Server).batchGet)},
		{hexrv1.Vault_List_FullMethodName, seers, audit.OpList, unary((*Server).list)},
		{hexrv1.Vault_Delete_FullMethodName, writers, audit.OpDelete, unary((*Server).delete)},
		{hexrv1.Vault_Undelete_FullMethodName, writers, audit.OpUndelete, unary((*Server).undelete)},
		{hexrv1.Vault_Destroy_FullMethodName, writers, audit.OpDestroy, unary((*Server).destroy)},
		{hexrv1.Vault_Describe_FullMethodName, seers, audit.OpDescribe, unary((*Server).describe)},
		{hexrv1.Vault_Versions_FullMethodName, seers, audit.OpVersions, unary((*Server).versions)},
		{hexrv1.Vault_Watch_FullMethodName, seers, audit.OpWatch, nil},
		{hexrv1.Vault_RotateBegin_FullMethodName, writers, audit.OpRotateBegin, unary((*Server).rotateBegin)},
		{hexrv1.Vault_RotateStage_FullMethodName, writers, audit.OpRotateStage, unary((*Server).rotateStage)},
		{hexrv1.Vault_RotateCommit_FullMethodName, writers, audit.OpRotateCommit, unary((*Server).rotateCommit)},
		{hexrv1.Vault_RotateAbort_FullMethodName, writers, audit.OpRotateAbort, unary((*Server).rotateAbort)},
		{hexrv1.Vault_SetRotation_FullMethodName, writers, audit.OpRotateSchedule, unary((*Server).setRotation)},
		{hexrv1.Vault_WhoAmI_FullMethodName, everyone, 0, unary((*Server).whoAmI)},

		{hexrv1.Audit_Query_FullMethodName, readers, audit.OpAuditQuery, unary((*Server).auditQuery)},
		{hexrv1.Audit_Tail_FullMethodName, readers, audit.OpAuditTail, nil},
		{hexrv1.Audit_Verify_FullMethodName, checkers, audit.OpAuditVerify, nil},
		{hexrv1.Audit_Checkpoint_FullMethodName, checkers, audit.OpAuditCheckpoint, unary((*Server).checkpoint)},

		{hexrv1.Cluster_Status_FullMethodName, everyone, 0, unary((*Server).status)},
		{hexrv1.Cluster_Members_FullMethodName, checkers, 0, unary((*Server).members)},
		{hexrv1.Cluster_RemoveMember_FullMethodName, rulers, audit.OpMemberRemove, unary((*Server).removeMember)},
		{hexrv1.Cluster_TransferLeadership_FullMethodName, rulers, audit.OpMemberTransfer, unary((*Server).transfer)},
		{hexrv1.Cluster_CreateToken_FullMethodName, rulers, audit.OpTokenCreate, unary((*Server).createToken)},
		{hexrv1.Cluster_ListTokens_FullMethodName, rulers, audit.OpTokenList, unary((*Server).listTokens)},
		{hexrv1.Cluster_RevokeToken_FullMethodName, rulers, audit.OpTokenRevoke, unary((*Server).revokeToken)},
		{hexrv1.Cluster_GetSettings_FullMethodName, rulers, audit.OpSettingsGet, unary((*Server).getSettings)},
		{hexrv1.Cluster_SetSetting_FullMethodName, rulers, audit.OpSettingsSet, unary((*Server).setSetting)},
		{hexrv1.Cluster_Block_FullMethodName, rulers, audit.OpBlock, unary((*Server).block)},
		{hexrv1.Cluster_Unblock_FullMethodName, rulers, audit.OpUnblock, unary((*Server).unblock)},
		{hexrv1.Cluster_ListBlocks_FullMethodName, rulers, audit.OpBlockList, unary((*Server).listBlocks)},
		{hexrv1.Cluster_KeysStatus_FullMethodName, rulers, audit.OpKeysStatus, unary((*Server).keysStatus)},
		{hexrv1.Cluster_RotateKeys_FullMethodName, rulers, audit.OpKeyAdd, unary((*Server).rotateKeys)},

		// Answered by their own services: what they decide is an access there.
		{"/hexr.cluster.v1.Peer/Join", nodes, audit.OpMemberJoin, nil},
		{"/hexr.cluster.v1.Peer/Enter", nodes, 0, nil},
		{"/hexr.cluster.v1.Peer/Status", nodes, 0, nil},
		{"/hexr.cluster.v1.Peer/Root", nodes, 0, nil},
		{"/hexr.cluster.v1.Peer/Change", nodes, audit.OpMemberAnnounce, nil},
		{"/hexr.cluster.v1.Peer/Key", nodes, audit.OpKeyRelease, nil},
		{"/hexr.cluster.v1.Peer/KeyUse", nodes, 0, nil},
		{"/hexr.cluster.v1.Peer/Sign", nodes, 0, nil},
		{"/grpc.health.v1.Health/Check", everyone, 0, nil},
		{"/grpc.health.v1.Health/List", everyone, 0, nil},
		{"/grpc.health.v1.Health/Watch", everyone, 0, nil},
	} {
		table[m.name] = m
	}
	return table
}
