package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/hexrdev/hexrd/internal/fault"
)

// restored is called on raft's FSM goroutine when a snapshot has replaced the
// store. A snapshot over a log that reaches it or beyond leaves raft with a log
// it must not have: on boltdb it keeps a conflicting entry and livelocks, on
// raft-wal the log is emptied while raft's last index stays, and it panics
// (hashicorp/raft#697). So raft is ended here, before it goes on, and opened
// again over a log that fits.
func (n *Node) restored(meta *raft.SnapshotMeta) {
	r := n.raft.Load()
	if r == nil {
		return
	}
	last, err := r.log.LastIndex()
	if err != nil {
		n.fail(fmt.Errorf("look at raft log: %w", err))
		return
	}
	if last < meta.Index {
		return
	}
	r.Shutdown()
	select {
	case n.reopen <- meta:
	default: // one is waiting already
	}
}

func (n *Node) reopenLoop(ctx context.Context) {
	for {
		select {
		case meta := <-n.reopen:
			if err := n.reopenRaft(ctx, meta); err != nil && ctx.Err() == nil {
				n.fail(fmt.Errorf("reopen raft after a snapshot: %w", err))
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (n *Node) reopenRaft(ctx context.Context, meta *raft.SnapshotMeta) error {
	if err := n.shutdown(ctx, n.raft.Load()); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	fault.Point("reopen.closed")
	if err := fitLog(n.logs, meta.Index, meta.Term); err != nil {
		return err
	}
	fault.Point("reopen.fitted")
	n.log.Info("raft is opened again after a snapshot replaced its log")
	return n.startRaft()
}

// fitLog makes the log one that continues a snapshot. An entry at the snapshot's
// index of another term, or of none that can be read, means that the whole log
// is of another history: it goes. An entry of the same term means that what
// follows is good, and it stays: others may count on it.
func fitLog(logs raft.LogStore, index, term uint64) error {
	first, err1 := logs.FirstIndex()
	last, err2 := logs.LastIndex()
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("look at raft log: %w", err)
	}
	if isMonotonic(logs) && last > 0 && last < index {
		// It has no holes: what follows the snapshot could not be appended. Raft removes
		// such a log when it installs a snapshot; a crash came before that.
		if err := logs.DeleteRange(first, last); err != nil {
			return fmt.Errorf("remove a log that ends before the snapshot: %w", err)
		}
		return nil
	}
	if last == 0 || last < index || first > index {
		return nil
	}
	var entry raft.Log
	err := logs.GetLog(index, &entry)
	switch {
	case errors.Is(err, raft.ErrLogNotFound): // a hole: raft kept old entries, and appended behind the snapshot
		return logs.DeleteRange(first, index)
	case err != nil:
		return fmt.Errorf("look at raft log: %w", err)
	case entry.Term == term:
		return nil
	}
	if err := logs.DeleteRange(first, last); err != nil {
		return fmt.Errorf("remove a log of another history: %w", err)
	}
	return nil
}
