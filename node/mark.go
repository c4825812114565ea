package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// reportEvery is how often a node that does not lead tells the leader its mark
// and what time it has, also where nobody proposes through it.
const reportEvery = 5 * time.Second

// ErrRolledBack: the disk holds less than this node once told the cluster.
var ErrRolledBack = errors.New("this node's disk is older than what the cluster knows of it: it was replaced by a copy, or lost " +
	"what it had stored; it must not vote")

// mark is what this node's disk holds while it runs: every entry that is applied
// was in its log before, or in a snapshot. The store may be further: the checkpoint
// in a snapshot holds what was applied while it was made.
func (n *Node) mark() *fsmpb.Mark {
	r := n.raft.Load()
	return &fsmpb.Mark{Node: n.cfg.ID, Index: min(n.store.AppliedIndex(), r.LastIndex()), Term: r.CurrentTerm()}
}

// Mark is what a node's disk held, as far as this one knows; zero: unknown.
func (n *Node) Mark(node string) (index, term uint64) {
	index, term = n.store.Mark(node)
	m := n.logged.get(node)
	return max(index, m.GetIndex()), max(term, m.GetTerm())
}

// report keeps this node's mark and clock known to whoever leads.
func (n *Node) report(ctx context.Context) {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		id, addr := n.Leader()
		if id == "" || id == n.cfg.ID || !n.store.Ready() {
			continue
		}
		data, err := proto.Marshal(n.proposal(nil))
		if err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, reportEvery)
		_, _ = n.cfg.Forward.Propose(ctx, id, addr, data) // the next one is soon
		cancel()
	}
}

// checkMark compares the disk with what the others know of it, before raft
// starts: a voter that forgot entries or votes would break what was promised with
// them. It waits until, with this node, a majority has answered.
func (n *Node) checkMark(ctx context.Context) error {
	index, term, err := n.onDisk()
	if err != nil {
		return err
	}
	ask := newInquiry(n)
	if ask.need == 0 {
		return nil
	}
	for {
		enough, err := ask.round(ctx)
		if err != nil {
			return err
		}
		if enough {
			break
		}
		ask.waiting.Do(func() {
			n.log.Warn("waiting for a majority of the members to say what they know of this node's disk; " +
				"if their addresses have changed, start it with `hexrd join ADDR`, ADDR of one of them")
		})
		if !rest(ctx, askPause) {
			return ctx.Err()
		}
	}
	if index < ask.index || term < ask.term {
		return fmt.Errorf("%w (log up to %d in term %d, known up to %d in term %d)", ErrRolledBack, index, term, ask.index, ask.term)
	}
	return nil
}

// onDisk is the last index of log and snapshots, and the term that raft kept.
func (n *Node) onDisk() (index, term uint64, err error) {
	last, err1 := n.logs.LastIndex()
	metas, err2 := n.snapshots.List()
	term, err3 := currentTerm(n.votes)
	if err := errors.Join(err1, err2, err3); err != nil {
		return 0, 0, fmt.Errorf("look at raft state: %w", err)
	}
	if len(metas) > 0 {
		last = max(last, metas[0].Index)
	}
	return last, term, nil
}

// currentTerm reads where raft keeps it; an empty store has none.
func currentTerm(s raft.StableStore) (uint64, error) {
	term, err := s.GetUint64([]byte("CurrentTerm"))
	if errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return 0, nil
	}
	return term, err
}

// proposal is the head of what this node sends to the leader.
func (n *Node) proposal(accesses []*fsmpb.Access) *fsmpb.Proposal {
	id := n.cfg.Keys.ClusterID()
	return &fsmpb.Proposal{
		Format: proposalFormat, ClusterId: id[:], NodeTime: n.cfg.Now().UnixNano(), Accesses: accesses, Mark: n.mark(),
	}
}

// marks are the highest of each node, from what is not in the store yet.
type marks struct {
	mu sync.Mutex
	of map[string]*fsmpb.Mark
}

func (m *marks) raise(mark *fsmpb.Mark) {
	if mark == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil {
		m.of = map[string]*fsmpb.Mark{}
	}
	old := m.of[mark.GetNode()]
	m.of[mark.GetNode()] = &fsmpb.Mark{
		Node: mark.GetNode(), Index: max(old.GetIndex(), mark.GetIndex()), Term: max(old.GetTerm(), mark.GetTerm()),
	}
}

func (m *marks) get(node string) *fsmpb.Mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of[node]
}

// take returns the marks, ascending by node, and forgets them.
func (m *marks) take() []*fsmpb.Mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*fsmpb.Mark
	for _, node := range slices.Sorted(maps.Keys(m.of)) {
		out = append(out, m.of[node])
	}
	m.of = nil
	return out
}
