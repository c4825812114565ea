package fsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/internal/durable"
	"github.com/hexrdev/hexrd/seal"
)

// storeFormat is of the tables and their keys. 2: an index in place of table I. 3:
// tables q and e for requests. 4: heads leave digests and request ids to values.
const storeFormat = 4

// Config of a Store.
type Config struct {
	Dir    string        // made when it does not exist
	Keys   *seal.Keyring // of the cluster
	Logger *slog.Logger  // nil: no log
	// Failed hears, at most once, that the database can't write any more: the disk is
	// full or broken. nil: nobody does.
	Failed func(error)
}

// Store is the replicated state on disk: Apply changes it, everything else
// reads. All methods are safe for concurrent use; reads, but for Foresee, never wait for
// Apply.
// What Apply wrote is durable after Flush, Checkpoint, Restore or Close; a crash
// leaves the state after some earlier entry, and raft applies the rest again.
type Store struct {
	cfg   Config
	codec codec
	log   *slog.Logger

	apply   sync.Mutex // orders what changes the state
	st      *state
	cache   *caches
	failed  error
	written int       // rows, by the last entry
	reseal  resealing // of db
	copies  *copies   // of db

	mu    sync.RWMutex // readers hold it while they use db and chain; Restore swaps them
	db    *pebble.DB   // nil: closed
	name  string       // directory of db within cfg.Dir
	chain *chain

	expected               expected
	destroyed              atomic.Bool // since the last Erase
	uncopied               atomic.Bool // see CopyValues
	unreadable             atomic.Bool // that was logged
	view                   atomic.Pointer[view]
	applied, rows, changed broadcast
	watchers               watchers
	closed                 chan struct{}
	broken                 broken
}

// Open opens the store of the keyring's cluster; an empty directory gives an
// empty one. ErrWrongCluster, ErrUnknownFormat, ErrCorrupt.
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if err := durable.MakeDir(c.Dir); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{cfg: c, codec: newCodec(c.Keys), log: c.Logger, closed: make(chan struct{}), broken: broken{done: make(chan struct{})}}
	s.copies = newCopies(filepath.Join(c.Dir, copiesDir), c.Logger)
	name, err := currentName(c.Dir)
	if err != nil {
		return nil, err
	}
	if err := s.load(name); err != nil {
		return nil, err
	}
	if s.copies.open() != nil {
		s.copies.fail()
	}
	if err := removeOthers(c.Dir, name); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, ctx.Err()
}

// load opens a directory and what is kept in memory of it, and makes it the
// store's. The caller holds apply and mu, or is alone.
func (s *Store) load(name string) (err error) {
	defer func() { err = damaged(err) }()
	db, err := openPebble(filepath.Join(s.cfg.Dir, name), s.log, s.noteError)
	if err != nil {
		return err
	}
	r := reader{db, s.codec}
	st, compactRange, err := loadState(r, s.codec.keys.ClusterID())
	if err != nil {
		return errors.Join(err, db.Close())
	}
	if st.format == 1 {
		s.log.Info("the index of the audit rows is made anew, as this version keeps it", "rows", st.size)
	}
	s.copies.forget()
	cache := newCaches(s.copies)
	if cache.requests, err = openRequests(r, st.swept, st.index); err != nil {
		return errors.Join(err, db.Close())
	}
	chain, err := rebuildChain(db, r, cache, st.size, compactRange)
	if err == nil && st.format == 1 {
		err = upgrade(db, r, cache, st, compactRange)
	}
	if err != nil {
		return errors.Join(err, db.Close())
	}
	s.db, s.name, s.chain, s.st, s.cache, s.reseal = db, name, chain, st, cache, resealing{}
	s.publish(true)
	return nil
}

// upgrade drops what format 1 had instead of the index, which is whole, and says what
// the store is now.
func upgrade(db *pebble.DB, r reader, cache *caches, st *state, compactRange [][]byte) error {
	old := tableBounds(tablePosting)
	if err := db.DeleteRange(old.LowerBound, old.UpperBound, pebble.NoSync); err != nil {
		return fmt.Errorf("write store: %w", err)
	}
	w := newWriter(r, r.codec.keys, cache, 1)
	st.put(w, compactRange)
	return w.commit(db)
}

// loadState reads the rows that are kept in memory.
func loadState(r reader, clusterID [16]byte) (*state, [][]byte, error) {
	st := newState(clusterID)
	var meta fsmpb.Meta
	found, err := r.get(tableMeta, nil, &meta)
	if err != nil || !found {
		return st, nil, err
	}
	if st.format = meta.GetFormat(); st.format == 0 || st.format > storeFormat {
		return nil, nil, fmt.Errorf("store: %w", ErrUnknownFormat)
	}
	if string(meta.GetClusterId()) != string(clusterID[:]) {
		return nil, nil, fmt.Errorf("store: %w", ErrWrongCluster)
	}
	st.trustDomain, st.index, st.term = meta.GetTrustDomain(), meta.GetIndex(), meta.GetTerm()
	st.time, st.size, st.marks, st.uses = meta.GetTime(), meta.GetSize(), meta.GetMarks(), meta.GetValueKeyUses()
	st.swept = meta.GetSwept()
	if meta.GetConfiguration() != nil {
		st.configuration = meta.GetConfiguration()
	}
	_, err1 := r.get(tableSettings, nil, st.settings)
	_, err2 := r.get(tableMembers, nil, st.members)
	_, err3 := r.get(tableTokens, nil, st.tokens)
	_, err4 := r.get(tableBlocked, nil, st.blocked)
	_, err5 := r.get(tableKeys, nil, st.keys)
	return st, meta.GetRange(), errors.Join(err1, err2, err3, err4, err5)
}

// put writes what is dirty, and the meta row.
func (st *state) put(w *writer, compactRange [][]byte) {
	if st.dirtySettings {
		w.set(tableSettings, nil, st.settings)
	}
	if st.dirtyMembers {
		w.set(tableMembers, nil, st.members)
	}
	if st.dirtyTokens {
		w.set(tableTokens, nil, st.tokens)
	}
	if st.dirtyBlocked {
		w.set(tableBlocked, nil, st.blocked)
	}
	if st.dirtyKeys {
		w.set(tableKeys, nil, st.keys)
	}
	w.set(tableMeta, nil, &fsmpb.Meta{
		Format: storeFormat, ClusterId: st.clusterID[:], TrustDomain: st.trustDomain, Index: st.index, Term: st.term,
		Time: st.time, Size: st.size, Range: compactRange, Configuration: st.configuration, Marks: st.marks,
		ValueKeyUses: st.uses, Swept: w.swept(),
	})
}

func (st *state) clean() {
	st.dirtySettings, st.dirtyMembers, st.dirtyTokens, st.dirtyBlocked, st.dirtyKeys = false, false, false, false, false
}

func (st *state) dirty() bool {
	return st.dirtySettings || st.dirtyMembers || st.dirtyTokens || st.dirtyBlocked || st.dirtyKeys
}

// Close flushes and closes. Reads that are under way finish first.
func (s *Store) Close() error {
	s.apply.Lock()
	defer s.apply.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return nil
	}
	close(s.closed)
	if s.failed == nil && s.flush() != nil {
		s.log.Warn("the store was not flushed before it was closed: the raft log has the rest")
	}
	err := s.db.Close()
	s.db = nil
	s.copies.close()
	if s.broken.is() {
		return nil // its error is known
	}
	return err
}

// Flush makes what was applied durable.
func (s *Store) Flush(context.Context) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return ErrClosed
	}
	if err := s.flush(); err != nil {
		return fmt.Errorf("flush store: %w", err)
	}
	return nil
}
