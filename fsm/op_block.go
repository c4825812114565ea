package fsm

import (
	"slices"
	"strings"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const maxBlocks = 10_000

// blockSubject reads what is to be blocked: an ID, agent/TENANT/AGENT or
// agent/TENANT. Nodes are removed, not blocked.
func (x *access) blockSubject(s string) (string, bool) {
	if c, err := ParseCaller(s, x.st.trustDomain); err == nil {
		return s, c.Class != ClassNode
	}
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 || parts[0] != "agent" {
		return "", false
	}
	for _, p := range parts[1:] {
		if !validSegment(p) {
			return "", false
		}
	}
	return s, true
}

func (x *access) block(op *fsmpb.Block) *fsmpb.Result {
	x.detail = op.GetSubject()
	subject, ok := x.blockSubject(op.GetSubject())
	if !ok || subject == x.caller.ID {
		return invalid()
	}
	subjects := x.st.blocked.GetSubjects()
	i, found := slices.BinarySearch(subjects, subject)
	if found {
		return granted()
	}
	if len(subjects) >= maxBlocks {
		return outcome(fsmpb.Outcome_OUTCOME_QUOTA)
	}
	x.st.setBlocked(slices.Insert(slices.Clone(subjects), i, subject))
	return granted()
}

func (x *access) unblock(op *fsmpb.Unblock) *fsmpb.Result {
	x.detail = op.GetSubject()
	subjects := x.st.blocked.GetSubjects()
	i, found := slices.BinarySearch(subjects, op.GetSubject())
	if !found {
		return notFound()
	}
	x.st.setBlocked(slices.Delete(slices.Clone(subjects), i, i+1))
	return granted()
}

func (x *access) blockList() *fsmpb.Result {
	res := granted()
	res.Value = &fsmpb.Result_BlockSet{BlockSet: &fsmpb.BlockSet{Subjects: x.st.blocked.GetSubjects()}}
	return res
}
