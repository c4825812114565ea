package node

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// housekeep is a node's work beside accesses: it erases what was destroyed, and
// as leader keeps the FSM's time from standing still.
func (n *Node) housekeep(ctx context.Context) {
	tick := time.NewTicker(n.cfg.Limits.IdleEvery / 2)
	defer tick.Stop()
	for {
		elected := n.leader.wait()
		select {
		case <-tick.C:
		case <-elected: // a cluster that was down begins with the time of now
		case <-ctx.Done():
			return
		}
		n.erase(ctx)
		if id, _ := n.Leader(); id != n.cfg.ID || !n.store.Ready() {
			continue
		}
		if n.cfg.Now().UnixNano()-n.store.Time() > int64(n.cfg.Limits.IdleEvery) {
			n.moveTime()
		}
	}
}

// erase lets the bytes of what was destroyed leave this node's files: a
// compaction of the store, and a snapshot that replaces an older one.
func (n *Node) erase(ctx context.Context) {
	if !n.store.Erasable() {
		return
	}
	if err := n.store.Erase(ctx); err != nil {
		n.log.Warn("the store was not compacted after a destroy; it is tried again")
		return
	}
	if err := n.raft.Load().Snapshot().Error(); err != nil {
		n.log.Info("no snapshot was taken after a destroy; the next one is")
	}
}

// snapshotAnew replaces a snapshot that can't be sent: an entry makes sure that
// there is something new to take.
func (n *Node) snapshotAnew() {
	n.own(func(context.Context) {
		n.moveTime()
		if err := n.raft.Load().Snapshot().Error(); err != nil {
			n.log.Warn("no snapshot was taken in place of a damaged one; the next one is")
		}
	})
}

// moveTime appends an entry without accesses.
func (n *Node) moveTime() {
	if n.checkClock(n.ctx) != nil {
		return
	}
	id := n.cfg.Keys.ClusterID()
	data, err := proto.Marshal(&fsmpb.Entry{
		Format: entryFormat, Time: n.cfg.Now().UnixNano(), ClusterId: id[:], Leader: n.cfg.ID,
		Marks: append(n.gather.marks.take(), n.mark()),
	})
	if err != nil {
		return
	}
	_ = n.raft.Load().Apply(data, enqueueTimeout).Error() // the next round tries again
}
