package node

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"
	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"go.etcd.io/bbolt"

	"github.com/hexrdev/hexrd/internal/durable"
)

const (
	raftDir     = "raft"
	kindFile    = "log-store"
	boltTimeout = 5 * time.Second
)

// rawLog is a log store as it comes from its library.
type rawLog interface {
	raft.LogStore
	io.Closer
}

// isMonotonic reports whether a store takes no holes: raft asks for it, and a
// wrapper has to pass it through.
func isMonotonic(l raft.LogStore) bool {
	m, ok := l.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

// openStable opens the store of term and vote.
func openStable(dir string) (*raftboltdb.BoltStore, error) {
	s, err := openBolt(filepath.Join(dir, raftDir, "stable.db"), isStable)
	if err != nil {
		return nil, unreadable("open stable store", err)
	}
	return s, nil
}

// openLog opens the log store that the directory was made with; a new one is
// made with want.
func openLog(dir, want string, log *slog.Logger) (rawLog, string, error) {
	kind, err := logKind(dir, want)
	if err != nil {
		return nil, "", err
	}
	switch kind {
	case LogStoreBolt:
		file := filepath.Join(dir, raftDir, "log.db")
		s, err := openBolt(file, nil)
		if err != nil {
			return nil, "", unreadable("open raft log", err)
		}
		return sturdyLog{s, file, &atomic.Bool{}}, kind, nil
	case LogStoreWAL:
		path := filepath.Join(dir, raftDir, "wal")
		if err := durable.MakeDir(path); err != nil {
			return nil, "", fmt.Errorf("open raft log: %w", err)
		}
		s, err := openWAL(path, log)
		if err != nil {
			return nil, "", unreadable("open raft log", err)
		}
		return sturdyLog{s, path, &atomic.Bool{}}, kind, nil
	}
	return nil, "", fmt.Errorf("%w: %s names no log store", ErrLog, kindFile)
}

// walLog closes the log's meta database too: raft-wal 0.4.0 leaves it open and
// locked, and a second Open in the same process would wait for ever.
type walLog struct {
	*wal.WAL
	segments *walSegments
	meta     io.Closer
}

// GetLog does not give what was truncated: raft-wal reads it as long as its
// segment file is there.
func (w walLog) GetLog(index uint64, l *raft.Log) error {
	first, err := w.FirstIndex()
	if err != nil {
		return err
	}
	if index < first {
		return raft.ErrLogNotFound
	}
	return w.WAL.GetLog(index, l)
}

func (w walLog) Close() error {
	err := w.WAL.Close()
	w.segments.close()
	return errors.Join(err, w.meta.Close())
}

func openWAL(path string, log *slog.Logger) (l walLog, err error) {
	if err := walkBolt(filepath.Join(path, "wal-meta.db"), nil); err != nil {
		return walLog{}, err
	}
	meta := &metadb.BoltMetaDB{}
	segments := openSegments(path, segment.NewFiler(path, walfs.New()), log)
	err = whole(path, func() error {
		s, err := wal.Open(path, wal.WithLogger(raftLog(log).HCLog()), wal.WithMetaStore(meta),
			wal.WithSegmentFiler(segments))
		l = walLog{s, segments, meta}
		return err
	})
	if err != nil {
		segments.close()
		if !errors.Is(err, ErrLog) { // else its locks may be held
			err = errors.Join(err, meta.Close())
		}
	}
	return l, err
}

func openBolt(path string, known func(bucket string, key []byte) bool) (*raftboltdb.BoltStore, error) {
	if err := walkBolt(path, known); err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		err = makeBolt(path)
		if err != nil {
			return nil, err
		}
	}
	return raftboltdb.New(boltOptions(path))
}

func boltOptions(path string) raftboltdb.Options {
	return raftboltdb.Options{
		Path: path,
		BoltOptions: &bbolt.Options{
			Timeout: boltTimeout, FreelistType: bbolt.FreelistMapType, NoFreelistSync: true,
		},
		MsgpackUseNewTimeFormat: true,
	}
}

// makeBolt makes an empty database. A power cut leaves none, or a whole one: half
// of one is damage to bbolt.
func makeBolt(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if err := f.Close(); err != nil {
		return err
	}
	s, err := raftboltdb.New(boltOptions(f.Name()))
	if err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, os.ErrExist) { // another process's is never replaced
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// logKind reads which store the directory has, or fixes it.
func logKind(dir, want string) (string, error) {
	file := filepath.Join(dir, raftDir, kindFile)
	data, err := os.ReadFile(file)
	if err == nil {
		kind := strings.TrimSpace(string(data))
		if want != "" && want != kind {
			return "", fmt.Errorf("%w: this one has %s, not %s", ErrLogStore, kind, want)
		}
		return kind, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("open raft log: %w", err)
	}
	or(&want, LogStoreWAL)
	if err := durable.MakeDir(filepath.Dir(file)); err != nil {
		return "", fmt.Errorf("open raft log: %w", err)
	}
	if err := durable.WriteFile(file, []byte(want+"\n")); err != nil {
		return "", fmt.Errorf("open raft log: %w", err)
	}
	return want, nil
}
