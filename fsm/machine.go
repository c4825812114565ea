package fsm

import (
	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// access is one access while it is decided.
type access struct {
	t       tx
	st      *state
	a       *fsmpb.Access
	op      audit.Operation
	caller  Caller
	reads   []placed        // the caller's, where it is an agent
	limits  *fsmpb.Settings // effective
	capture bool            // this node answers gets: show what they release
	held    []byte          // the digest of a value that need not be shown

	request []byte // its key, once that was asked for
	scope   string // for the row
	version uint64
	detail  string
}

// applyEntry decides the accesses of a decoded entry in order. It returns one
// result and one row for each, which the next entry's take the place of; the state and
// the transaction hold what they changed. The entry was validated.
func applyEntry(t tx, st *state, e *fsmpb.Entry, index, term uint64, capture bool, held [][]byte) ([]*fsmpb.Result, []audit.Row) {
	st.time = max(st.time, e.GetTime())
	st.index, st.term, st.changes = index, term, 0
	results := make([]*fsmpb.Result, 0, len(e.GetAccesses()))
	rows, x := st.rows[:0], &access{}
	for i, a := range e.GetAccesses() {
		*x = access{t: t, st: st, a: a, op: OperationOf(a), capture: capture, limits: st.effective()}
		if len(held) > 0 {
			x.held = held[i]
		}
		r := x.decide()
		r.Row, r.Time = st.size, st.time
		results = append(results, r)
		rows = append(rows, x.row(r))
		st.size++
	}
	for _, m := range e.GetMarks() {
		st.mark(m)
	}
	st.rows = rows
	return results, rows
}

func outcome(o fsmpb.Outcome) *fsmpb.Result { return &fsmpb.Result{Outcome: o} }

// Short names for what operations return.
var (
	granted  = func() *fsmpb.Result { return outcome(fsmpb.Outcome_OUTCOME_GRANTED) }
	denied   = func() *fsmpb.Result { return outcome(fsmpb.Outcome_OUTCOME_DENIED) }
	notFound = func() *fsmpb.Result { return outcome(fsmpb.Outcome_OUTCOME_NOT_FOUND) }
	conflict = func() *fsmpb.Result { return outcome(fsmpb.Outcome_OUTCOME_CONFLICT) }
	gone     = func() *fsmpb.Result { return outcome(fsmpb.Outcome_OUTCOME_GONE) }
	invalid  = func() *fsmpb.Result { return outcome(fsmpb.Outcome_OUTCOME_INVALID) }
)

// decide goes through the checks that all accesses share, in this order: stale,
// expired, blocked, class; then the operation's own.
func (x *access) decide() *fsmpb.Result {
	if b := x.a.GetBootstrap(); b != nil {
		return x.bootstrap(b)
	}
	if x.st.trustDomain == "" {
		return invalid()
	}
	who, err := x.st.callers.parse(x.a.GetCaller(), x.st.trustDomain)
	if err != nil {
		return invalid()
	}
	x.caller, x.reads = who.Caller, who.reads
	switch {
	case x.st.time-x.a.GetSeen() > x.limits.GetRequestWindow():
		return outcome(fsmpb.Outcome_OUTCOME_STALE)
	case x.a.GetExpires() != 0 && x.a.GetExpires() <= x.st.time:
		return outcome(fsmpb.Outcome_OUTCOME_EXPIRED)
	case isBlocked(x.st.blocked, x.caller):
		return outcome(fsmpb.Outcome_OUTCOME_BLOCKED)
	case x.a.GetSvid() == fsmpb.SVIDKind_SVID_KIND_JWT && (!x.limits.GetJwtSvid() || x.caller.Class != ClassAgent):
		return denied()
	case !x.allowed():
		return denied()
	}
	return x.operate()
}

func (x *access) operate() *fsmpb.Result {
	switch op := x.a.GetOp().(type) {
	case *fsmpb.Access_Get:
		return x.get(op.Get)
	case *fsmpb.Access_Put:
		return x.put(op.Put)
	case *fsmpb.Access_List:
		return x.list(op.List)
	case *fsmpb.Access_Delete:
		return x.delete(op.Delete)
	case *fsmpb.Access_Undelete:
		return x.undelete(op.Undelete)
	case *fsmpb.Access_Destroy:
		return x.destroy(op.Destroy)
	case *fsmpb.Access_Describe:
		return x.describe(op.Describe)
	case *fsmpb.Access_Versions:
		return x.versions(op.Versions)
	case *fsmpb.Access_AuditQuery:
		return x.auditQuery(op.AuditQuery)
	case *fsmpb.Access_AuditTail:
		return x.auditTail(op.AuditTail)
	case *fsmpb.Access_AuditVerify:
		return x.auditVerify()
	case *fsmpb.Access_AuditCheckpoint:
		return x.auditVerify()
	case *fsmpb.Access_Watch:
		return x.watch(op.Watch)
	case *fsmpb.Access_RotateBegin:
		return x.rotateBegin(op.RotateBegin)
	case *fsmpb.Access_RotateStage:
		return x.rotateStage(op.RotateStage)
	case *fsmpb.Access_RotateCommit:
		return x.rotateCommit(op.RotateCommit)
	case *fsmpb.Access_RotateAbort:
		return x.rotateAbort(op.RotateAbort)
	case *fsmpb.Access_RotateSchedule:
		return x.rotateSchedule(op.RotateSchedule)
	case *fsmpb.Access_Sweep:
		return x.sweep(op.Sweep)
	case *fsmpb.Access_ThrottleSummary:
		return x.throttled(op.ThrottleSummary)
	}
	return x.operateCluster()
}

func (x *access) operateCluster() *fsmpb.Result {
	switch op := x.a.GetOp().(type) {
	case *fsmpb.Access_TokenCreate:
		return x.tokenCreate(op.TokenCreate)
	case *fsmpb.Access_TokenList:
		return x.tokenList()
	case *fsmpb.Access_TokenRevoke:
		return x.tokenRevoke(op.TokenRevoke)
	case *fsmpb.Access_Join:
		return x.join(op.Join)
	case *fsmpb.Access_KeyRelease:
		return x.keyRelease(op.KeyRelease)
	case *fsmpb.Access_MemberPromote:
		return x.memberPromote(op.MemberPromote)
	case *fsmpb.Access_MemberRemove:
		return x.memberRemove(op.MemberRemove)
	case *fsmpb.Access_MemberTransfer:
		return x.memberTransfer(op.MemberTransfer)
	case *fsmpb.Access_MemberLeave:
		return x.memberLeave()
	case *fsmpb.Access_MemberAnnounce:
		return x.memberAnnounce(op.MemberAnnounce)
	case *fsmpb.Access_SettingsGet:
		return x.settingsGet()
	case *fsmpb.Access_SettingsSet:
		return x.settingsSet(op.SettingsSet)
	case *fsmpb.Access_Block:
		return x.block(op.Block)
	case *fsmpb.Access_Unblock:
		return x.unblock(op.Unblock)
	case *fsmpb.Access_BlockList:
		return x.blockList()
	}
	return x.operateKeys()
}

func (x *access) operateKeys() *fsmpb.Result {
	switch op := x.a.GetOp().(type) {
	case *fsmpb.Access_KeyAdd:
		return x.keyAdd(op.KeyAdd)
	case *fsmpb.Access_KeyDurable:
		return x.keyDurable(op.KeyDurable)
	case *fsmpb.Access_KeyActivate:
		return x.keyActivate(op.KeyActivate)
	case *fsmpb.Access_KeyRewrap:
		return x.keyRewrap(op.KeyRewrap)
	case *fsmpb.Access_KeyUse:
		return x.keyUse(op.KeyUse)
	case *fsmpb.Access_KeysGet:
		return x.keySet(x.st.keys.GetKeys()...)
	}
	return invalid()
}
