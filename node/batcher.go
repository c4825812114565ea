package node

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// Proposals under way to the leader: so many go at once, so many at most, each further
// one as large as the smallest.
const (
	forwardsFree   = 1
	forwardsMost   = 4
	forwardsGrowth = 1
)

// batcher merges what waits on a follower into proposals for the leader. There
// is no timer: what waits while the others are under way is the next proposal,
// and an idle node adds no delay.
type batcher struct {
	n     *Node
	queue *fairQueue
	turns *turns
}

func newBatcher(n *Node) *batcher {
	queue := newFairQueue(n.cfg.Limits.Queue)
	return &batcher{n: n, queue: queue, turns: newTurns(queue, forwardsFree, forwardsMost, forwardsGrowth)}
}

func (b *batcher) run(ctx context.Context) {
	for b.turns.wait(ctx) {
		batch := b.n.collect(b.queue)
		if len(batch) == 0 {
			continue
		}
		size := sizeOf(batch)
		b.turns.begin(size)
		b.n.own(func(ctx context.Context) {
			defer b.turns.end(size)
			b.forward(ctx, batch)
		})
	}
}

// collect takes what waits, within the bounds of one entry. Items whose callers
// gave up are dropped: they were not proposed.
func (n *Node) collect(queue *fairQueue) []*item {
	var batch []*item
	count, bytes := 0, 0
	for {
		it := queue.take()
		if it == nil {
			return batch
		}
		if it.ctx.Err() != nil {
			it.done <- decided{err: fmt.Errorf("%w: %w", ErrNoLeader, it.ctx.Err())}
			continue
		}
		batch = append(batch, it)
		count += len(it.accesses)
		bytes += it.bytes
		if count >= n.cfg.Limits.BatchCount || bytes >= n.cfg.Limits.BatchBytes {
			return batch
		}
	}
}

func (b *batcher) forward(ctx context.Context, batch []*item) {
	sent := time.Now()
	reply, err := b.propose(ctx, batch)
	at := 0
	for _, it := range batch {
		if err != nil {
			it.done <- decided{err: err}
			continue
		}
		it.done <- decided{
			sent: sent, results: reply.GetResults()[at : at+len(it.accesses)], index: reply.GetIndex(), time: reply.GetTime(),
		}
		at += len(it.accesses)
	}
}

func (b *batcher) propose(ctx context.Context, batch []*item) (*fsmpb.ProposalReply, error) {
	id, addr := b.n.Leader()
	if id == "" {
		return nil, ErrNoLeader
	}
	if id == b.n.cfg.ID { // since they were queued
		return nil, &NotLeaderError{id, addr}
	}
	var accesses []*fsmpb.Access
	for _, it := range batch {
		accesses = append(accesses, it.accesses...)
	}
	p := b.n.proposal(accesses)
	found := b.n.store.Foresee(accesses)
	p.Holds = digestsOf(found)
	data, err := proto.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	ctx, cancel := context.WithTimeout(b.n.reign.of(ctx, id), rpcTimeout)
	defer cancel()
	answer, err := b.n.cfg.Forward.Propose(ctx, id, addr, data)
	if err != nil {
		return nil, err
	}
	var reply fsmpb.ProposalReply
	if err := proto.Unmarshal(answer, &reply); err != nil || len(reply.GetResults()) != len(p.GetAccesses()) {
		return nil, fmt.Errorf("%w: the leader's answer does not decode", ErrUnknownOutcome)
	}
	fillHeld(found, reply.GetResults())
	return &reply, nil
}
