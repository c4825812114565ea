package node

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// forwards is how many proposals may be under way to the leader at once.
const forwards = 4

// batcher merges what waits on a follower into proposals for the leader. There
// is no timer: what waits while the others are under way is the next proposal,
// and an idle node adds no delay.
type batcher struct {
	n     *Node
	queue *fairQueue
	slots chan struct{}
}

func newBatcher(n *Node) *batcher {
	return &batcher{n, newFairQueue(n.cfg.Limits.Queue), make(chan struct{}, forwards)}
}

func (b *batcher) run(ctx context.Context) {
	for {
		select {
		case b.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		batch := b.n.collect(ctx, b.queue)
		if batch == nil {
			return
		}
		b.n.own(func(ctx context.Context) {
			defer func() { <-b.slots }()
			b.forward(ctx, batch)
		})
	}
}

// collect waits for an item, and takes with it what else waits, within the
// bounds of one entry. Items whose callers gave up are dropped: they were not
// proposed. nil: ctx ended.
func (n *Node) collect(ctx context.Context, queue *fairQueue) []*item {
	var batch []*item
	count, bytes := 0, 0
	for {
		it := queue.take()
		switch {
		case it == nil && len(batch) > 0:
			return batch
		case it == nil:
			if it = queue.wait(ctx); it == nil {
				return nil
			}
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
	data, err := proto.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	answer, err := b.n.cfg.Forward.Propose(ctx, id, addr, data)
	if err != nil {
		return nil, err
	}
	var reply fsmpb.ProposalReply
	if err := proto.Unmarshal(answer, &reply); err != nil || len(reply.GetResults()) != len(p.GetAccesses()) {
		return nil, fmt.Errorf("%w: the leader's answer does not decode", ErrUnknownOutcome)
	}
	return &reply, nil
}
