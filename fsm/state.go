package fsm

import (
	"slices"
	"strings"

	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// state is the part of the replicated state that is always in memory. The store
// loads it when it opens, and writes what is dirty with each entry. Messages in
// it are replaced, never changed in place: readers hold them.
type state struct {
	clusterID     [16]byte
	format        uint32 // of the store, when it was opened; 0: it was empty
	swept         []byte // as it was then
	trustDomain   string // empty: not bootstrapped
	index, term   uint64 // of the last entry
	time          int64  // FSM time, unix nanoseconds
	size          uint64 // audit rows
	changes       uint32 // noted by the entry so far
	marks         []*fsmpb.Mark
	settings      *fsmpb.Settings
	members       *fsmpb.Members
	tokens        *fsmpb.Tokens
	blocked       *fsmpb.Blocked
	configuration *fsmpb.Configuration
	keys          *fsmpb.Keys
	uses          []*fsmpb.KeyUses

	callers knownCallers
	rows    []audit.Row // of the last entry

	// limits are the effective ones of limitsOf: worked out once for each change.
	limits, limitsOf *fsmpb.Settings

	dirtySettings, dirtyMembers, dirtyTokens, dirtyBlocked, dirtyKeys bool
}

func newState(clusterID [16]byte) *state {
	return &state{
		clusterID: clusterID, settings: &fsmpb.Settings{}, members: &fsmpb.Members{}, tokens: &fsmpb.Tokens{},
		blocked: &fsmpb.Blocked{}, configuration: &fsmpb.Configuration{}, keys: &fsmpb.Keys{},
		callers: newKnownCallers(),
	}
}

// effective is the settings with defaults for what is not set. It must not be
// changed.
func (st *state) effective() *fsmpb.Settings {
	if st.limitsOf != st.settings {
		st.limits, st.limitsOf = Effective(st.settings), st.settings
	}
	return st.limits
}

// mark raises the mark of a member. Proposals of one node may overtake another:
// a mark never goes back.
func (st *state) mark(m *fsmpb.Mark) {
	if member := st.member(m.GetNode()); member == nil || member.GetRemoved() || m.GetIndex() >= st.index {
		return
	}
	i, found := slices.BinarySearchFunc(st.marks, m.GetNode(), func(m *fsmpb.Mark, n string) int { return strings.Compare(m.GetNode(), n) })
	marks := slices.Clone(st.marks)
	if found {
		marks[i] = &fsmpb.Mark{Node: m.GetNode(), Index: max(m.GetIndex(), marks[i].GetIndex()), Term: max(m.GetTerm(), marks[i].GetTerm())}
	} else {
		marks = slices.Insert(marks, i, m)
	}
	st.marks = marks
}

// unmark forgets the mark of a node that is gone for good.
func (st *state) unmark(node string) {
	st.marks = slices.DeleteFunc(slices.Clone(st.marks), func(m *fsmpb.Mark) bool { return m.GetNode() == node })
}

func (st *state) member(id string) *fsmpb.Member {
	for _, m := range st.members.GetMembers() {
		if m.GetId() == id {
			return m
		}
	}
	return nil
}

// setMember replaces or adds a member.
func (st *state) setMember(m *fsmpb.Member) {
	members := slices.Clone(st.members.GetMembers())
	i, found := slices.BinarySearchFunc(members, m.GetId(), func(o *fsmpb.Member, id string) int { return strings.Compare(o.GetId(), id) })
	if found {
		members[i] = m
	} else {
		members = slices.Insert(members, i, m)
	}
	st.members, st.dirtyMembers = &fsmpb.Members{Members: members}, true
}

// present counts the members that were not removed.
func (st *state) present() int {
	n := 0
	for _, m := range st.members.GetMembers() {
		if !m.GetRemoved() {
			n++
		}
	}
	return n
}

func (st *state) setTokens(tokens []*fsmpb.Token) {
	st.tokens, st.dirtyTokens = &fsmpb.Tokens{Tokens: tokens}, true
}

func (st *state) setBlocked(subjects []string) {
	st.blocked, st.dirtyBlocked = &fsmpb.Blocked{Subjects: subjects}, true
}
