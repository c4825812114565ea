package fsm

import (
	"errors"
	"slices"
	"strings"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const maxBlocks = 10_000

var errSubject = errors.New("use a whole SPIFFE ID of this trust domain, agent/TENANT/AGENT or agent/TENANT; nodes are removed, not blocked")

// CheckSubject says what is wrong with the subject of a block before it is
// proposed: it is an ID, agent/TENANT/AGENT or agent/TENANT. Nodes are removed,
// not blocked.
func CheckSubject(s, trustDomain string) error {
	if c, err := ParseCaller(s, trustDomain); err == nil {
		if c.Class == ClassNode {
			return errSubject
		}
		return nil
	}
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 || parts[0] != "agent" {
		return errSubject
	}
	for _, p := range parts[1:] {
		if !validSegment(p) {
			return errSubject
		}
	}
	return nil
}

func (x *access) block(op *fsmpb.Block) *fsmpb.Result {
	subject := op.GetSubject()
	x.detail = subject
	if CheckSubject(subject, x.st.trustDomain) != nil || subject == x.caller.ID {
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
