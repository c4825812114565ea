package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/internal/durable"
	"github.com/hexrdev/hexrd/internal/fault"
	"github.com/hexrdev/hexrd/node/nodepb"
	"github.com/hexrdev/hexrd/seal"
)

const (
	snapshotFormat = 1
	snapshotsKept  = 2
	metaFile       = "meta"
	contentDir     = "checkpoint"
	partSuffix     = ".part"
)

// snapshots keeps checkpoints of the store with raft's meta of them
// (raft.SnapshotStore). A local snapshot is hard links; a stream is made while
// it is sent, and unpacked while it is received.
type snapshots struct {
	dir         string
	keys        *seal.Keyring
	installKeys func(context.Context, []byte) error
	exportKeys  func() ([]byte, error)
	damaged     func() // hears that the newest one can't be sent
	log         *slog.Logger
	made        atomic.Uint64
	took        atomic.Int64 // the last one, nanoseconds

	mu    sync.Mutex
	refs  map[string]int
	last  int64
	seals map[string]SnapshotKey // see sealedWith
}

func openSnapshots(dir string, c Config) (*snapshots, error) {
	s := &snapshots{dir: dir, keys: c.Keys, installKeys: c.InstallKeys, exportKeys: c.ExportKeys, log: c.Logger, refs: map[string]int{}}
	if err := durable.MakeDir(dir); err != nil {
		return nil, fmt.Errorf("open snapshots: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open snapshots: %w", err)
	}
	for _, e := range entries { // what was cut off
		if strings.HasSuffix(e.Name(), partSuffix) {
			if err := durable.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return nil, fmt.Errorf("open snapshots: %w", err)
			}
		}
	}
	return s, nil
}

// Create begins a snapshot. It appears in List when its sink is closed.
func (s *snapshots) Create(version raft.SnapshotVersion, index, term uint64, conf raft.Configuration,
	confIndex uint64, _ raft.Transport,
) (raft.SnapshotSink, error) {
	s.mu.Lock()
	s.last = max(s.last+1, time.Now().UnixMilli()) // unique, also within a millisecond
	id := fmt.Sprintf("%020d-%020d-%d", index, term, s.last)
	s.mu.Unlock()
	meta := raft.SnapshotMeta{
		Version: version, ID: id, Index: index, Term: term, Configuration: conf, ConfigurationIndex: confIndex,
	}
	k := &sink{s: s, meta: meta, dir: filepath.Join(s.dir, id+partSuffix), began: time.Now()}
	if err := os.Mkdir(k.dir, 0o700); err != nil {
		return nil, fmt.Errorf("create snapshot: %w", err)
	}
	return k, nil
}

// List returns the snapshots, the newest first.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var metas []*raft.SnapshotMeta
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), partSuffix) {
			continue
		}
		m, err := s.meta(e.Name())
		if err != nil {
			return nil, fmt.Errorf("snapshot %s: %w", e.Name(), err)
		}
		metas = append(metas, m)
	}
	slices.SortFunc(metas, func(a, b *raft.SnapshotMeta) int {
		return cmp.Or(cmp.Compare(b.Index, a.Index), cmp.Compare(b.Term, a.Term), cmp.Compare(b.ID, a.ID))
	})
	return metas, nil
}

func (s *snapshots) meta(id string) (*raft.SnapshotMeta, error) {
	data, err := os.ReadFile(filepath.Join(s.dir, id, metaFile))
	if err != nil {
		return nil, err
	}
	plaintext, err := s.keys.OpenRow(s.metaAD(id), data)
	if err != nil {
		return nil, fmt.Errorf("%w: its meta does not open in its place", ErrSnapshot)
	}
	return decodeMeta(plaintext)
}

// metaAD binds a snapshot's meta to its cluster and name.
func (s *snapshots) metaAD(id string) []byte {
	cluster := s.keys.ClusterID()
	return append(append([]byte{'s', 'n', 'a', 'p', 's', 'h', 'o', 't', snapshotFormat}, cluster[:]...), id...)
}

var errMeta = fmt.Errorf("%w: its meta", ErrSnapshot)

func decodeMeta(data []byte) (_ *raft.SnapshotMeta, err error) {
	defer func() {
		if recover() != nil { // raft.DecodeConfiguration
			err = errMeta
		}
	}()
	var pb nodepb.SnapshotMeta
	if err := proto.Unmarshal(data, &pb); err != nil {
		return nil, fmt.Errorf("%w: %w", errMeta, err)
	}
	if pb.GetFormat() != snapshotFormat {
		return nil, fsm.ErrUnknownFormat
	}
	return &raft.SnapshotMeta{
		Version: raft.SnapshotVersion(pb.GetRaftVersion()), ID: pb.GetId(), Index: pb.GetIndex(), Term: pb.GetTerm(),
		Configuration: raft.DecodeConfiguration(pb.GetConfiguration()), ConfigurationIndex: pb.GetConfigurationIndex(),
	}, nil
}

func (s *snapshots) content(id string) string { return filepath.Join(s.dir, id, contentDir) }

// Open returns a stream of the snapshot with its exact size. The snapshot stays
// until the stream is closed.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, err := s.meta(id)
	if err != nil {
		return nil, nil, fmt.Errorf("open snapshot: %w", err)
	}
	keys, err := s.exportKeys()
	if err != nil {
		return nil, nil, fmt.Errorf("open snapshot: %w", err)
	}
	files, err := checkpointFiles(s.content(id))
	if err != nil {
		return nil, nil, fmt.Errorf("open snapshot: %w", err)
	}
	meta.Size = archiveSize(keys, files)
	s.mu.Lock()
	s.refs[id]++
	s.mu.Unlock()
	return meta, &source{s: s, meta: meta, dir: s.content(id), keys: keys, files: files}, nil
}

func (s *snapshots) release(id string) {
	s.mu.Lock()
	s.refs[id]--
	if s.refs[id] == 0 {
		delete(s.refs, id)
	}
	s.mu.Unlock()
	s.reap()
}

// reap removes all but the newest snapshots that nobody reads.
func (s *snapshots) reap() {
	metas, err := s.List()
	if err != nil {
		s.log.Warn("old snapshots were not removed: the list can't be read")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range metas[min(len(metas), snapshotsKept):] {
		if s.refs[m.ID] > 0 {
			continue
		}
		dir := filepath.Join(s.dir, m.ID)
		if err := os.Rename(dir, dir+partSuffix); err == nil { // never a half in the list
			err = durable.RemoveAll(dir + partSuffix)
			if err != nil {
				s.log.Warn("an old snapshot was not removed")
			}
		}
	}
}

// source streams a snapshot; the stream is made from its first Read on, so that
// who wants the directory pays nothing.
type source struct {
	s     *snapshots
	meta  *raft.SnapshotMeta
	dir   string
	keys  []byte
	files []archiveFile

	pipe *io.PipeReader
	done chan struct{}
	once sync.Once
}

func (r *source) Read(p []byte) (int, error) {
	if r.pipe == nil {
		pr, pw := io.Pipe()
		r.pipe, r.done = pr, make(chan struct{})
		go func() {
			defer close(r.done)
			err := r.s.verify(r.meta.ID)
			if err == nil {
				err = writeArchive(pw, r.keys, r.dir, r.files)
			}
			_ = pw.CloseWithError(err)
		}()
	}
	return r.pipe.Read(p)
}

func (r *source) Close() error {
	r.once.Do(func() {
		if r.pipe != nil {
			_ = r.pipe.Close()
			<-r.done
		}
		clear(r.keys)
		r.s.release(r.meta.ID)
	})
	return nil
}

// sink receives a snapshot: a local checkpoint, or a stream.
type sink struct {
	s     *snapshots
	meta  raft.SnapshotMeta
	dir   string
	began time.Time

	pipe   *io.PipeWriter // of a stream
	result chan error
	closed bool
}

func (k *sink) ID() string { return k.meta.ID }

// checkpoint fills the sink from the store.
func (k *sink) checkpoint(ctx context.Context, store *fsm.Store) error {
	_, err := store.Checkpoint(ctx, filepath.Join(k.dir, contentDir))
	return err
}

func (k *sink) Write(p []byte) (int, error) {
	if k.pipe == nil {
		dir := filepath.Join(k.dir, contentDir)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return 0, err
		}
		pr, pw := io.Pipe()
		k.pipe, k.result = pw, make(chan error, 1)
		go func() {
			err := readArchive(pr, dir, func(keys []byte) error { return k.s.installKeys(context.Background(), keys) })
			_ = pr.CloseWithError(cmp.Or(err, errEnd))
			k.result <- err
		}()
	}
	return k.pipe.Write(p)
}

// errEnd is what a writer gets after the end of a stream that was complete.
var errEnd = fmt.Errorf("%w: there is more than its end", errArchive)

// Close makes the snapshot durable, and part of the list.
func (k *sink) Close() error {
	if k.closed {
		return nil
	}
	k.closed = true
	if k.pipe != nil {
		_ = k.pipe.Close()
		err := <-k.result
		if err == nil {
			err = fsm.Verify(context.Background(), filepath.Join(k.dir, contentDir), k.s.keys)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("receive snapshot: %w", err), durable.RemoveAll(k.dir))
		}
	}
	if err := k.finish(); err != nil {
		return errors.Join(fmt.Errorf("write snapshot: %w", err), durable.RemoveAll(k.dir))
	}
	k.s.made.Add(1)
	k.s.took.Store(int64(time.Since(k.began)))
	k.s.reap()
	return nil
}

// verify reads all of a snapshot before it is sent: a follower must not be given
// damage.
func (s *snapshots) verify(id string) error {
	err := whole("snapshot "+id, func() error { return fsm.Verify(context.Background(), s.content(id), s.keys) })
	if err != nil {
		s.log.Error("a snapshot is damaged and is not sent: a new one is made", "snapshot", id)
		s.damaged()
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return nil
}

func (k *sink) finish() error {
	data, err := proto.Marshal(&nodepb.SnapshotMeta{
		Format: snapshotFormat, Id: k.meta.ID, Index: k.meta.Index, Term: k.meta.Term,
		Configuration:      raft.EncodeConfiguration(k.meta.Configuration),
		ConfigurationIndex: k.meta.ConfigurationIndex, RaftVersion: int64(k.meta.Version),
	})
	if err != nil {
		return err
	}
	sealed, err := k.s.keys.SealRow(k.s.metaAD(k.meta.ID), data)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(k.dir, metaFile), sealed); err != nil {
		return err
	}
	fault.Point("snapshot.written")
	if err := os.Rename(k.dir, filepath.Join(k.s.dir, k.meta.ID)); err != nil {
		return err
	}
	fault.Point("snapshot.renamed")
	return durable.SyncDir(k.s.dir)
}

// Cancel drops what was received.
func (k *sink) Cancel() error {
	if k.closed {
		return nil
	}
	k.closed = true
	if k.pipe != nil {
		_ = k.pipe.CloseWithError(errArchive)
		if err := <-k.result; err != nil {
			k.s.log.Debug("a snapshot that was being received is dropped")
		}
	}
	return durable.RemoveAll(k.dir)
}
