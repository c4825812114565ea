package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/raft"

	hexrfsm "github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/internal/fault"
)

func logKindOf(dir string) (string, error) {
	data, err := os.ReadFile(filepath.Join(dir, raftDir, kindFile))
	return strings.TrimSpace(string(data)), err
}

func nilIfMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// reconcile brings the store to where raft believes it is, before raft starts.
// Killed between a durable snapshot and its restore, raft would go on as if it
// had been restored: the store is compared with the index inside the newest
// snapshot, and with where the log begins.
func (n *Node) reconcile(ctx context.Context) error {
	metas, err := n.snapshots.List()
	if err != nil {
		return err
	}
	first, err := n.logs.FirstIndex()
	if err != nil {
		return fmt.Errorf("look at raft log: %w", err)
	}
	covered := n.store.AppliedIndex() // every entry up to here is in the store
	if len(metas) > 0 {
		newest := metas[0]
		var inside hexrfsm.CheckpointMeta
		err := whole("the newest snapshot", func() (err error) {
			inside, err = hexrfsm.Inspect(ctx, n.snapshots.content(newest.ID), n.cfg.Keys)
			return err
		})
		if err != nil {
			return fmt.Errorf("%w: the newest one: %w", ErrSnapshot, err)
		}
		if covered < inside.Index {
			n.log.Info("the store is behind the newest snapshot and is restored from it",
				"applied", covered, "snapshot", inside.Index)
			if err := n.machine.restore(newest); err != nil {
				return err
			}
		}
		covered = max(n.store.AppliedIndex(), newest.Index) // no-ops are in no store
	}
	if first > 0 && first-1 > covered {
		return fmt.Errorf("%w: the store has %d, the log begins at %d", ErrGap, covered, first)
	}
	from := uint64(0) // below the snapshot there may be a hole, which nobody reads
	if len(metas) > 0 {
		from, n.known = metas[0].Index, servers(metas[0].Configuration)
	}
	if err := n.readLog(from); err != nil || len(metas) == 0 {
		return err
	}
	return fitLog(n.logs, metas[0].Index, metas[0].Term)
}

// readLog looks at every entry of the log after an index: raft panics at one that
// it can't read, and a log that was altered must be named before it is used. It
// finds the latest configuration as raft will, and the marks of others.
func (n *Node) readLog(after uint64) error {
	first, err1 := n.logs.FirstIndex()
	last, err2 := n.logs.LastIndex()
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("look at raft log: %w", err)
	}
	for i := max(first, after+1); i <= last; i++ {
		var entry raft.Log
		if err := n.logs.GetLog(i, &entry); err != nil {
			return fmt.Errorf("%w: entry %d of the raft log can't be read: %w", ErrLog, i, err)
		}
		switch entry.Type {
		case raft.LogConfiguration:
			n.known = servers(raft.DecodeConfiguration(entry.Data))
		case raft.LogCommand:
			for _, m := range hexrfsm.EntryMarks(entry.Data) {
				n.logged.raise(m)
			}
		}
	}
	return nil
}

func (n *Node) raftConfig() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(n.cfg.ID)
	c.Logger = raftLog(n.log).HCLog()
	c.HeartbeatTimeout, c.ElectionTimeout = n.cfg.Timers.Heartbeat, n.cfg.Timers.Election
	c.LeaderLeaseTimeout, c.CommitTimeout = n.cfg.Timers.Lease, n.cfg.Timers.Commit
	c.SnapshotThreshold, c.SnapshotInterval = n.cfg.Limits.SnapshotEntries, n.cfg.Limits.SnapshotEvery
	c.TrailingLogs = n.cfg.Limits.TrailingEntries
	c.NoSnapshotRestoreOnStart = true // the store is durable itself: reconcile()
	c.NoLegacyTelemetry = true
	c.ShutdownOnRemove = false // the node says so itself: configured()
	return c
}

// startRaft opens raft over the stores; also again, after some snapshots.
func (n *Node) startRaft() error {
	cache, err := newLogCache(n.logs)
	if err != nil {
		return fmt.Errorf("open raft: %w", err)
	}
	stream := n.streams.session()
	trans := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Logger: raftLog(n.log).HCLog(), Stream: stream, MaxPool: maxPool, Timeout: rpcTimeout,
		MsgpackUseNewTimeFormat: true,
	})
	var self atomic.Pointer[raft.Raft]
	log := newParallelLog(cache, func() bool {
		r := self.Load()
		return r != nil && r.State() == raft.Leader
	}, n.spawn)
	n.machine.disk.Store(log)
	fault.Point("start.checked")
	r, err := raft.NewRaft(n.raftConfig(), n.machine, log, n.votes, n.snapshots, transport{
		trans, log, stream,
		func(to raft.ServerID, at raft.ServerAddress, term uint64) bool {
			return replicating(self.Load(), to, at, term)
		},
	})
	self.Store(r)
	if err != nil {
		return errors.Join(fmt.Errorf("open raft: %w", err), trans.Close())
	}
	fault.Point("start.raft")
	i := &instance{Raft: r, trans: trans, log: log}
	observations := make(chan raft.Observation, 16)
	r.RegisterObserver(raft.NewObserver(observations, false, i.note))
	n.raft.Store(i)
	n.own(func(ctx context.Context) { n.observe(ctx, i, observations) })
	if n.closing.Load() || n.Err() != nil { // Close or fail may not have seen it
		return n.shutdown(context.Background(), i)
	}
	return nil
}

// observe wakes who waits for a leader, and ends what waits for the one before.
func (n *Node) observe(ctx context.Context, r *instance, observations <-chan raft.Observation) {
	for {
		select {
		case <-observations:
			id, _ := n.Leader()
			n.reign.begin(ctx, id)
			n.leader.fire()
		case <-ctx.Done():
			return
		}
		if n.raft.Load() != r {
			return
		}
	}
}
