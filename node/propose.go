package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const (
	proposalFormat = 1
	rpcTimeout     = 10 * time.Second
	retryPause     = 10 * time.Millisecond
	maxRetries     = 100
	// maxValues bounds the values of one reply.
	maxValues = 64 << 20
	// maxProposal bounds a proposal: a batch, and the largest access beside it.
	maxProposal = 8 << 20
	// staleRetry is shorter than any request window.
	staleRetry = 5 * time.Second
	// leaderWait is how long a call waits for a leader to appear.
	leaderWait = 5 * time.Second
)

// item is one call's accesses on their way into an entry.
type item struct {
	ctx      context.Context
	accesses []*fsmpb.Access
	holds    [][]byte // see fsmpb.Proposal
	bytes    int
	done     chan decided // buffered: never blocks who decides
}

type decided struct {
	sent    time.Time // to the leader, or to raft
	results []*fsmpb.Result
	index   uint64
	time    int64
	err     error
}

func newItem(ctx context.Context, accesses []*fsmpb.Access) *item {
	it := &item{ctx: ctx, accesses: accesses, done: make(chan decided, 1)}
	for _, a := range accesses {
		it.bytes += proto.Size(a)
	}
	return it
}

// Do puts accesses through the log, and returns a result for each and the raft
// index of their entry. It retries what certainly was not applied until ctx
// ends; ErrUnknownOutcome it never retries.
func (n *Node) Do(ctx context.Context, accesses []*fsmpb.Access) ([]*fsmpb.Result, uint64, error) {
	if len(accesses) == 0 || len(accesses) > n.cfg.Limits.BatchCount {
		return nil, 0, fmt.Errorf("%w: %d accesses", ErrInvalid, len(accesses))
	}
	if err := n.awaitState(ctx, accesses); err != nil {
		return nil, 0, err
	}
	if err := n.fill(accesses); err != nil {
		return nil, 0, err
	}
	begin := n.cfg.Now()
	d := n.attempt(ctx, accesses)
	if d.err == nil && allStale(d.results) && n.cfg.Now().Sub(begin) < staleRetry {
		// The FSM's time stood still while nothing happened; now it moved. What was
		// held for longer than that may have been sent again by its caller, applied
		// and forgotten.
		if err := n.store.WaitApplied(ctx, d.index); err != nil {
			return d.results, d.index, nil
		}
		for _, a := range accesses {
			a.Seen, a.Salt = n.store.Time(), nil
		}
		if err := n.fill(accesses); err != nil {
			return nil, 0, err
		}
		d = n.attempt(ctx, accesses)
	}
	if d = n.fresh(ctx, accesses, d); d.err != nil {
		return nil, 0, d.err
	}
	return d.results, d.index, nil
}

func allStale(results []*fsmpb.Result) bool {
	for _, r := range results {
		if r.GetOutcome() != fsmpb.Outcome_OUTCOME_STALE {
			return false
		}
	}
	return true
}

// awaitState waits, as long as for a leader, until this node has seen the time of
// the cluster: a store that was behind its log at the start has none yet.
func (n *Node) awaitState(ctx context.Context, accesses []*fsmpb.Access) error {
	if n.store.Time() != 0 || accesses[0].GetBootstrap() != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, leaderWait)
	defer cancel()
	if err := n.store.WaitApplied(ctx, 1); err != nil {
		return fmt.Errorf("%w: this node waits for the cluster's state", ErrNoLeader)
	}
	return nil
}

// fill adds what the entry node knows.
func (n *Node) fill(accesses []*fsmpb.Access) error {
	seen := n.store.Time()
	for _, a := range accesses {
		a.Node = n.cfg.ID
		if a.Seen == 0 {
			a.Seen = seen
		}
		for _, id := range []*[]byte{&a.Salt, &a.RequestId} {
			if len(*id) != 0 {
				continue
			}
			*id = make([]byte, 16)
			if _, err := rand.Read(*id); err != nil {
				return fmt.Errorf("make a salt: %w", err)
			}
		}
	}
	return nil
}

// attempt tries the leader of the moment, and the next one as long as it is
// certain that nothing was applied.
func (n *Node) attempt(ctx context.Context, accesses []*fsmpb.Access) decided {
	begin := time.Now()
	var limit <-chan time.Time // from the first failure on: mostly there is none
	for tries := 0; ; tries++ {
		next := n.leader.wait()
		d := n.once(ctx, accesses)
		var notLeader *NotLeaderError
		if !errors.As(d.err, &notLeader) && !errors.Is(d.err, ErrNoLeader) || tries >= maxRetries {
			return d
		}
		if limit == nil {
			limit = time.After(leaderWait - time.Since(begin))
		}
		select {
		case <-next:
		case <-time.After(retryPause << min(tries, 4)):
		case <-limit:
			return decided{err: fmt.Errorf("%w: no quorum answers", ErrNoLeader)}
		case <-n.done:
			return decided{err: ErrStopped}
		case <-n.ctx.Done():
			return decided{err: ErrStopped}
		case <-ctx.Done():
			return decided{err: fmt.Errorf("%w: %w", ErrNoLeader, ctx.Err())}
		}
	}
}

func (n *Node) once(ctx context.Context, accesses []*fsmpb.Access) decided {
	if n.Err() != nil || n.closing.Load() {
		return decided{err: ErrStopped}
	}
	id, _ := n.Leader()
	it := newItem(ctx, accesses)
	queue := n.batcher.queue
	switch id {
	case "":
		return decided{err: ErrNoLeader}
	case n.cfg.ID:
		queue = n.gather.queue
	}
	if !queue.push(accesses[0].GetCaller(), it) {
		return decided{err: ErrOverloaded}
	}
	return n.await(it)
}

// await returns what became of a queued item. An item whose caller gave up is
// not proposed any more, but may have been.
func (n *Node) await(it *item) decided {
	select {
	case d := <-it.done:
		return d
	case <-it.ctx.Done():
		return decided{err: fmt.Errorf("%w: %w", ErrUnknownOutcome, it.ctx.Err())}
	case <-n.done:
		return decided{err: fmt.Errorf("%w: the node failed", ErrUnknownOutcome)}
	case <-n.ctx.Done():
		return decided{err: fmt.Errorf("%w: the node is closing", ErrUnknownOutcome)}
	}
}

// HandlePropose is the leader's side of a proposal of another node.
func (n *Node) HandlePropose(ctx context.Context, from string, proposal []byte) ([]byte, error) {
	p, err := n.decodeProposal(from, proposal)
	if err != nil {
		return nil, err
	}
	id, addr := n.Leader()
	if id != n.cfg.ID {
		return nil, &NotLeaderError{id, addr}
	}
	n.clock.heard(from, p.GetNodeTime())
	n.gather.marks.raise(p.GetMark())
	if len(p.GetAccesses()) == 0 { // a report
		return proto.Marshal(&fsmpb.ProposalReply{})
	}
	it := newItem(ctx, p.GetAccesses())
	it.holds = p.GetHolds()
	if !n.gather.queue.push(from, it) {
		return nil, ErrOverloaded
	}
	d := n.await(it)
	if d.err != nil {
		return nil, d.err
	}
	dropHeld(d.results, p.GetHolds())
	dropValues(d.results, maxValues)
	return proto.Marshal(&fsmpb.ProposalReply{Index: d.index, Time: d.time, Results: d.results})
}

// dropValues leaves out the values that are more than a reply carries: their
// callers are told to ask again, and the others of the proposal get theirs.
func dropValues(results []*fsmpb.Result, most int) {
	for _, r := range results {
		s := r.GetSecret()
		if s == nil {
			continue
		}
		if most -= len(s.GetSealed()); most < 0 {
			s.Sealed = nil
		}
	}
}

func (n *Node) decodeProposal(from string, data []byte) (*fsmpb.Proposal, error) {
	var p fsmpb.Proposal
	if len(data) > maxProposal || proto.Unmarshal(data, &p) != nil {
		return nil, fmt.Errorf("%w: it does not decode", ErrInvalid)
	}
	id := n.cfg.Keys.ClusterID()
	switch {
	case p.GetFormat() != proposalFormat:
		return nil, fmt.Errorf("%w: %w", ErrInvalid, fsm.ErrUnknownFormat)
	case string(p.GetClusterId()) != string(id[:]):
		return nil, fmt.Errorf("%w: %w", ErrInvalid, fsm.ErrWrongCluster)
	case len(p.GetAccesses()) > fsm.MaxAccesses, len(p.GetAccesses()) == 0 && p.GetMark() == nil:
		return nil, fmt.Errorf("%w: %d accesses", ErrInvalid, len(p.GetAccesses()))
	}
	if n := len(p.GetHolds()); n > 0 && n != len(p.GetAccesses()) {
		return nil, fmt.Errorf("%w: it holds %d values for %d accesses", ErrInvalid, n, len(p.GetAccesses()))
	}
	if m := p.GetMark(); m != nil && m.GetNode() != from {
		return nil, fmt.Errorf("%w: its mark is another node's", ErrInvalid)
	}
	for _, a := range p.GetAccesses() {
		if a.GetNode() != from {
			return nil, fmt.Errorf("%w: it is in another node's name", ErrInvalid)
		}
	}
	return &p, nil
}
