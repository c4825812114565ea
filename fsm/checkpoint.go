package fsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/internal/durable"
	"github.com/hexrdev/hexrd/internal/fault"
	"github.com/hexrdev/hexrd/seal"
)

// CheckpointMeta is where a directory's content stands.
type CheckpointMeta struct {
	Index, Term   uint64
	Configuration *fsmpb.Configuration
	Clean         uint32 // as ResealState
}

// Checkpoint writes a copy of the store into dir, which must not exist, by hard
// links, beside Apply; it holds at least what was applied when it was called,
// and says what it holds.
func (s *Store) Checkpoint(ctx context.Context, dir string) (CheckpointMeta, error) {
	if err := s.checkpoint(dir); err != nil {
		return CheckpointMeta{}, err
	}
	return Inspect(ctx, dir, s.codec.keys)
}

func (s *Store) checkpoint(dir string) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return ErrClosed
	}
	if err := s.flush(); err != nil {
		return fmt.Errorf("checkpoint: flush: %w", err)
	}
	fault.Point("checkpoint.flushed")
	if err := s.db.Checkpoint(dir); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// Inspect says where the store in a checkpoint's directory stands, and that it
// opens with these keys.
func Inspect(_ context.Context, dir string, keys *seal.Keyring) (CheckpointMeta, error) {
	db, err := openPebble(dir, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return CheckpointMeta{}, err
	}
	r := reader{db, newCodec(keys)}
	st, _, err := loadState(r, keys.ClusterID())
	var resealed fsmpb.Reseal
	if err == nil {
		_, err = r.get(tableReseal, nil, &resealed)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return CheckpointMeta{}, fmt.Errorf("inspect checkpoint: %w", err)
	}
	return CheckpointMeta{Index: st.index, Term: st.term, Configuration: st.configuration, Clean: resealed.GetClean()}, nil
}

// Verify reads every block of a checkpoint's directory: damage that Inspect does
// not meet is ErrCorrupt.
func Verify(ctx context.Context, dir string, keys *seal.Keyring) (err error) {
	if _, err := Inspect(ctx, dir, keys); err != nil {
		return err
	}
	db, err := openPebble(dir, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	it, err := db.NewIterWithContext(ctx, nil)
	if err != nil {
		return fmt.Errorf("%w: scan: %w", ErrCorrupt, err)
	}
	for it.First(); it.Valid() && ctx.Err() == nil; it.Next() {
		if _, err := it.ValueAndErr(); err != nil {
			break // Close says it too
		}
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("%w: scan: %w", ErrCorrupt, err)
	}
	return ctx.Err()
}

// Restore replaces the content by that of a checkpoint directory on the same
// file system, whose files are durable; the directory is moved in. It is durable
// before it returns: a crash on the way leaves the old content or the new.
func (s *Store) Restore(ctx context.Context, dir string) error {
	if _, err := Inspect(ctx, dir, s.codec.keys); err != nil {
		return err
	}
	s.apply.Lock()
	defer s.apply.Unlock()
	name := nextName(s.name)
	if err := os.Rename(dir, filepath.Join(s.cfg.Dir, name)); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	fault.Point("restore.moved")
	if err := durable.SyncDir(s.cfg.Dir); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := s.swap(name); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	s.applied.fire()
	s.rows.fire()
	s.changed.fire()
	s.watchers.wakeAll()
	return nil
}

// swap closes the old database, makes the new one current and opens it.
func (s *Store) swap(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return ErrClosed
	}
	err := s.db.Close()
	s.db = nil
	if err != nil {
		s.log.Warn("the replaced store did not close cleanly")
	}
	if err := setCurrent(s.cfg.Dir, name); err != nil {
		s.failed = err
		return err
	}
	fault.Point("restore.current")
	if err := s.load(name); err != nil {
		s.failed = err
		return err
	}
	s.failed = nil
	fault.Point("restore.loaded")
	return removeOthers(s.cfg.Dir, name)
}

const (
	currentFile = "CURRENT"
	storePrefix = "store-"
	firstStore  = storePrefix + "000001"
)

// currentName is the directory that CURRENT names; the first one where there is
// no such file yet.
func currentName(dir string) (string, error) {
	data, err := os.ReadFile(filepath.Join(dir, currentFile))
	if errors.Is(err, os.ErrNotExist) {
		return firstStore, setCurrent(dir, firstStore)
	}
	if err != nil {
		return "", fmt.Errorf("open store: %w", err)
	}
	name := strings.TrimSuffix(string(data), "\n")
	if !strings.HasPrefix(name, storePrefix) || name != filepath.Base(name) {
		return "", fmt.Errorf("%w: %s names no store", ErrCorrupt, currentFile)
	}
	return name, present(dir, name)
}

// present checks that a store is there, or none is: a name that was altered must
// not begin an empty one, and end the others.
func present(dir, name string) error {
	stores, err := filepath.Glob(filepath.Join(dir, storePrefix+"*"))
	if err != nil || len(stores) == 0 || slices.Contains(stores, filepath.Join(dir, name)) {
		return err
	}
	return fmt.Errorf("%w: %s names a store that is not there", ErrCorrupt, currentFile)
}

func setCurrent(dir, name string) error {
	return durable.WriteFile(filepath.Join(dir, currentFile), []byte(name+"\n"))
}

func nextName(name string) string {
	n := 0
	_, _ = fmt.Sscanf(name, storePrefix+"%d", &n)
	return fmt.Sprintf("%s%06d", storePrefix, n+1)
}

// removeOthers removes what an interrupted Restore left.
func removeOthers(dir, name string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), storePrefix) && e.Name() != name {
			if err := durable.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("remove an old store: %w", err)
			}
		}
	}
	return nil
}
