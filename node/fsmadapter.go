package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/internal/durable"
	"github.com/hexrdev/hexrd/internal/fault"
)

// machine is the store as raft drives it. It is a ConfigurationStore and not a
// BatchingFSM: raft gives those no configurations.
type machine struct {
	log       *slog.Logger
	store     *fsm.Store
	snapshots *snapshots
	disk      atomic.Pointer[parallelLog] // of the raft instance of the moment
	restoring string                      // directory on the store's file system to unpack in
	inFlight  atomic.Int64                // proposals of this node as leader: someone waits for values
	fail      func(error)
	// configured hears of every committed configuration.
	configured func(raft.Configuration)
	// restored hears of a snapshot that replaced the store.
	restored func(*raft.SnapshotMeta)
}

var _ raft.ConfigurationStore = (*machine)(nil)

// applied is what Apply answers raft with.
type applied struct {
	results []*fsmpb.Result
	err     error
}

func (m *machine) Apply(l *raft.Log) any {
	var results []*fsmpb.Result
	err := guarded(m.log, func() (err error) {
		if err := m.disk.Load().wait(l.Index); err != nil {
			return err
		}
		results, err = m.store.Apply(l.Index, l.Term, l.Data, m.inFlight.Load() > 0)
		return err
	})
	if err != nil {
		m.fail(err)
	}
	return applied{results, err}
}

func (m *machine) StoreConfiguration(index uint64, c raft.Configuration) {
	err := guarded(m.log, func() error { return m.store.StoreConfiguration(index, toConfiguration(c)) })
	if err != nil {
		m.fail(fmt.Errorf("store configuration: %w", err))
		return
	}
	m.configured(c)
}

func toConfiguration(c raft.Configuration) *fsmpb.Configuration {
	out := &fsmpb.Configuration{}
	for _, s := range c.Servers {
		out.Servers = append(out.Servers, &fsmpb.Server{
			Id: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter,
		})
	}
	return out
}

// Snapshot costs nothing: the checkpoint is taken in Persist, beside Apply. It
// may hold entries after the snapshot's index; the store skips them when raft
// applies them again.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) { return checkpointer{m.log, m.store}, nil }

type checkpointer struct {
	log   *slog.Logger
	store *fsm.Store
}

func (c checkpointer) Persist(s raft.SnapshotSink) error {
	k, ok := s.(*sink)
	if !ok {
		return errors.New("not a sink of this node's snapshot store")
	}
	if err := guarded(c.log, func() error { return k.checkpoint(context.Background(), c.store) }); err != nil {
		return errors.Join(err, k.Cancel())
	}
	return k.Close()
}

func (checkpointer) Release() {}

// Restore replaces the store by a snapshot of this node's snapshot store. It is
// durable before it returns.
func (m *machine) Restore(rc io.ReadCloser) error {
	defer func() { _ = rc.Close() }()
	inner := rc
	if w, ok := rc.(raft.ReadCloserWrapper); ok {
		inner = w.WrappedReadCloser()
	}
	src, ok := inner.(*source)
	if !ok {
		return errors.New("not a snapshot of this node's snapshot store")
	}
	if err := guarded(m.log, func() error { return m.restore(src.meta) }); err != nil {
		m.fail(err)
		return err
	}
	m.restored(src.meta)
	return nil
}

func (m *machine) restore(meta *raft.SnapshotMeta) error {
	if err := durable.RemoveAll(m.restoring); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := cloneCheckpoint(m.snapshots.content(meta.ID), m.restoring); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	fault.Point("restore.copied")
	if err := m.store.Restore(context.Background(), m.restoring); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	fault.Point("restore.restored")
	return m.store.StoreConfiguration(meta.ConfigurationIndex, toConfiguration(meta.Configuration))
}

// cloneCheckpoint makes a second copy that a store may open and change: tables
// never change and are linked, all else is copied.
func cloneCheckpoint(from, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	files, err := checkpointFiles(from)
	if err != nil {
		return err
	}
	for _, f := range files {
		src, dst := filepath.Join(from, f.name), filepath.Join(to, f.name)
		if strings.HasSuffix(f.name, ".sst") || strings.HasSuffix(f.name, ".blob") {
			err = os.Link(src, dst)
		} else {
			err = copyFile(src, dst)
		}
		if err != nil {
			return err
		}
	}
	return durable.SyncDir(to)
}

func copyFile(src, dst string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
