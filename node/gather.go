package node

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const (
	// Entries that the leader has under way: one goes at once, and a second while it is
	// stored where twice as much waits. Meanwhile the proposals of all nodes gather.
	entriesFree    = 1
	entriesMost    = 2
	entriesGrowth  = 2
	enqueueTimeout = 2 * time.Second
	entryFormat    = 1
)

// gather is the leader's half: it merges the accesses of all nodes into entries.
type gather struct {
	n     *Node
	queue *fairQueue
	turns *turns
	marks marks
	// handing: leadership is being handed on.
	handing atomic.Bool
	// Only run uses these.
	stamp int64     // of the last entry
	off   bool      // the clock was found wrong
	raft  *instance // that this node has caught up with, as leader of term
	term  uint64
}

func newGather(n *Node) *gather {
	queue := newFairQueue(n.cfg.Limits.Queue)
	return &gather{n: n, queue: queue, turns: newTurns(queue, entriesFree, entriesMost, entriesGrowth)}
}

func (g *gather) run(ctx context.Context) {
	for g.turns.wait(ctx) {
		if batch := g.n.collect(g.queue); len(batch) > 0 {
			g.apply(batch)
		}
	}
}

// apply validates, stamps and appends one entry, and leaves the waiting to a
// goroutine that lets the next one go.
func (g *gather) apply(batch []*item) {
	if err := errors.Join(g.catchUp(), g.checkClock()); err != nil {
		g.answer(batch, nil, nil, decided{err: err})
		return
	}
	entry, held, refused := g.entry(batch)
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(entry)
	if err != nil || len(entry.GetAccesses()) == 0 {
		g.answer(batch, refused, nil, decided{err: err})
		return
	}
	size := sizeOf(batch)
	g.turns.begin(size)
	g.n.machine.inFlight.Add(1)
	sent := time.Now()
	applied := make(chan raft.ApplyFuture, 1)
	g.n.own(func(context.Context) { // begun before raft has the entry, which it is to go on with first
		defer g.n.machine.inFlight.Add(-1)
		f := <-applied
		g.n.store.Expect(data, held)
		d := g.outcome(f, len(entry.GetAccesses()))
		g.turns.end(size)
		d.sent, d.time = sent, entry.GetTime()
		g.answer(batch, refused, d.results, d)
	})
	applied <- g.n.raft.Load().Apply(data, enqueueTimeout)
}

// catchUp waits, once in each term, until this node's store holds everything
// that was committed before it led: what it validates with, and the time that it
// goes on from, are in there.
func (g *gather) catchUp() error {
	r := g.n.raft.Load()
	term := r.CurrentTerm()
	if r == g.raft && term == g.term {
		return nil
	}
	if err := r.Barrier(enqueueTimeout).Error(); err != nil {
		id, addr := g.n.Leader()
		return &NotLeaderError{id, addr}
	}
	if r.State() != raft.Leader || r.CurrentTerm() != term {
		return &NotLeaderError{}
	}
	g.raft, g.term = r, term
	return nil
}

// checkClock refuses to stamp with a clock that is far from the others', and
// hands leadership on.
func (g *gather) checkClock() error {
	err := g.n.checkClock(g.n.ctx)
	if err == nil {
		g.off = false
		return nil
	}
	if !g.off {
		g.off = true
		if errors.Is(err, errClock) {
			g.n.log.Error("this node's clock is more than 5 s from the others': it hands leadership on; set its clock")
		} else {
			g.n.log.Warn("this node leads, but too few members answer what time they have: nothing is stamped until they do")
		}
	}
	if errors.Is(err, errClock) && g.handing.CompareAndSwap(false, true) {
		g.n.own(func(ctx context.Context) {
			defer g.handing.Store(false)
			_ = g.n.Transfer(ctx, "") // tried again at the next batch
		})
	}
	return errors.Join(&NotLeaderError{}, err)
}

// entry builds the next entry from the accesses that may enter the log, with the digest
// of the value that the node of each holds, or nothing. refused has an outcome for each
// access, 0 for those in the entry: a bad one is refused alone.
func (g *gather) entry(batch []*item) (e *fsmpb.Entry, held [][]byte, refused []fsmpb.Outcome) {
	store := g.n.store
	now := max(g.n.cfg.Now().UnixNano(), g.stamp, store.Time())
	g.stamp = now
	id := g.n.cfg.Keys.ClusterID()
	e = &fsmpb.Entry{Format: entryFormat, Time: now, ClusterId: id[:], Leader: g.n.cfg.ID, Marks: append(g.marks.take(), g.n.mark())}
	if size := store.AuditSize(); size > 0 {
		if root, err := store.Root(size); err == nil {
			e.Check = &fsmpb.Check{Size: size, Root: root[:]}
		}
	}
	for _, it := range batch {
		for i, a := range it.accesses {
			o := g.refuse(a)
			if refused = append(refused, o); o != 0 {
				continue
			}
			var digest []byte
			if it.holds != nil {
				digest = it.holds[i]
			}
			e.Accesses, held = append(e.Accesses, a), append(held, digest)
		}
	}
	return e, held, refused
}

func (g *gather) refuse(a *fsmpb.Access) fsmpb.Outcome {
	if g.n.store.Validate(a) != nil {
		return fsmpb.Outcome_OUTCOME_INVALID
	}
	if g.n.cfg.Refuse == nil {
		return 0
	}
	return g.n.cfg.Refuse(a)
}

// outcome turns what raft answers into what is certain.
func (g *gather) outcome(f raft.ApplyFuture, want int) decided {
	err := f.Error()
	switch {
	case err == nil:
		r, ok := f.Response().(applied)
		if !ok || r.err != nil || len(r.results) != want {
			return decided{err: fmt.Errorf("%w: the state machine failed", ErrUnknownOutcome)}
		}
		return decided{results: r.results, index: f.Index()}
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		id, addr := g.n.Leader()
		return decided{err: &NotLeaderError{id, addr}}
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return decided{err: ErrOverloaded}
	default:
		return decided{err: fmt.Errorf("%w: %w", ErrUnknownOutcome, err)}
	}
}

// answer gives each item its results; an access that was refused gets its own.
func (g *gather) answer(batch []*item, refused []fsmpb.Outcome, results []*fsmpb.Result, d decided) {
	at := 0
	for _, it := range batch {
		mine := decided{sent: d.sent, index: d.index, time: d.time, err: d.err}
		if d.err == nil {
			for range it.accesses {
				if o := refused[at]; o != 0 {
					mine.results = append(mine.results, &fsmpb.Result{Outcome: o})
				} else {
					mine.results = append(mine.results, results[0])
					results = results[1:]
				}
				at++
			}
		}
		it.done <- mine
	}
}
