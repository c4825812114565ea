package fsm

import (
	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// row is the record of the access.
func (x *access) row(r *fsmpb.Result) audit.Row {
	a := x.a
	path, scope := target(a)
	if x.scope != "" {
		scope = x.scope
	}
	return audit.Row{
		Index: r.GetRow(), Time: r.GetTime(), Node: a.GetNode(), Caller: a.GetCaller(), SVID: audit.SVIDKind(a.GetSvid()),
		TokenDigest: a.GetTokenDigest(), Operation: x.op, Path: path, Scope: scope,
		Outcome: audit.Outcome(r.GetOutcome()), Version: x.version, Peer: a.GetPeer(),
		RequestID: id16(a.GetRequestId()), TraceID: id16(a.GetTraceId()), Detail: x.detail, Salt: id16(a.GetSalt()),
	}
}

func id16(b []byte) (id [16]byte) {
	copy(id[:], b)
	return id
}

// target is what an access names.
func target(a *fsmpb.Access) (path, scope string) {
	switch op := a.GetOp().(type) {
	case *fsmpb.Access_Get:
		return op.Get.GetPath(), op.Get.GetScope()
	case *fsmpb.Access_Put:
		return op.Put.GetPath(), op.Put.GetScope()
	case *fsmpb.Access_List:
		return op.List.GetPrefix(), op.List.GetScope()
	case *fsmpb.Access_Delete:
		return op.Delete.GetPath(), op.Delete.GetScope()
	case *fsmpb.Access_Undelete:
		return op.Undelete.GetPath(), op.Undelete.GetScope()
	case *fsmpb.Access_Destroy:
		return op.Destroy.GetPath(), op.Destroy.GetScope()
	case *fsmpb.Access_Describe:
		return op.Describe.GetPath(), op.Describe.GetScope()
	case *fsmpb.Access_Versions:
		return op.Versions.GetPath(), op.Versions.GetScope()
	case *fsmpb.Access_Watch:
		return op.Watch.GetPath() + op.Watch.GetPrefix(), op.Watch.GetScope() // one of them
	case *fsmpb.Access_RotateBegin:
		return op.RotateBegin.GetPath(), op.RotateBegin.GetScope()
	case *fsmpb.Access_RotateStage:
		return op.RotateStage.GetPath(), op.RotateStage.GetScope()
	case *fsmpb.Access_RotateCommit:
		return op.RotateCommit.GetPath(), op.RotateCommit.GetScope()
	case *fsmpb.Access_RotateAbort:
		return op.RotateAbort.GetPath(), op.RotateAbort.GetScope()
	case *fsmpb.Access_RotateSchedule:
		return op.RotateSchedule.GetPath(), op.RotateSchedule.GetScope()
	case *fsmpb.Access_AuditQuery:
		return op.AuditQuery.GetPath(), ""
	}
	return "", ""
}

// OperationOf is the audit's name for an access.
func OperationOf(a *fsmpb.Access) audit.Operation {
	switch a.GetOp().(type) { // at once for what comes most
	case *fsmpb.Access_Get:
		return audit.OpGet
	case *fsmpb.Access_Put:
		return audit.OpPut
	}
	f := a.ProtoReflect().WhichOneof(opField)
	if f == nil {
		return 0
	}
	return operations[f.Number()]
}
