package node

import (
	"bytes"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"syscall"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"github.com/hexrdev/hexrd/fsm"
)

// whole runs do on a library's file. A library that panics there, or reads where
// nothing is mapped, has met damage that its own checks don't know.
func whole(file string, do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("%w: %s can't be read", ErrLog, file)
		}
	}()
	return do()
}

// walkBolt reads every page of a database that is in use. bbolt's own look at
// them, when it opens a database to write, ends the process where it finds damage.
// known tells what may be in it, a bucket or a key of one; nil: anything.
func walkBolt(path string, known func(bucket string, key []byte) bool) error {
	if err := checkBolt(path); err != nil {
		return nilIfMissing(err)
	}
	return whole(path, func() (err error) {
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: boltTimeout})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		return db.View(func(tx *bbolt.Tx) error {
			return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
				if known != nil && !known(string(name), nil) {
					return fmt.Errorf("%w: a bucket of %s is nobody's", ErrLog, path)
				}
				return walkBucket(path, b, func(key []byte) bool { return known == nil || known(string(name), key) })
			})
		})
	})
}

func walkBucket(path string, b *bbolt.Bucket, known func(key []byte) bool) error {
	var last []byte
	return b.ForEach(func(k, v []byte) error {
		if last != nil && bytes.Compare(last, k) >= 0 {
			return fmt.Errorf("%w: %s is out of order", ErrLog, path)
		}
		if !known(k) {
			return fmt.Errorf("%w: a key of %s is nobody's", ErrLog, path)
		}
		last = append(last[:0], k...)
		if len(v) > 0 {
			_ = v[0] ^ v[len(v)-1] // that it is there
		}
		return nil
	})
}

// unreadable says what is in the way of opening a file: another process, the
// file system, or else damage.
func unreadable(what string, err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, bbolt.ErrTimeout):
		return fmt.Errorf("%s: another process uses this directory: %w", what, err)
	case errors.As(err, &errno), errors.Is(err, ErrLog):
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w: %w", what, ErrLog, err)
}

// sturdyLog turns what its library panics at into ErrLog.
type sturdyLog struct {
	rawLog
	file   string
	broken *atomic.Bool
}

func (s sturdyLog) do(do func() error) error {
	err := whole(s.file, do)
	if errors.Is(err, ErrLog) {
		s.broken.Store(true)
	}
	return err
}

// Close leaves a library that has panicked as it is: its locks may be held.
func (s sturdyLog) Close() error {
	if s.broken.Load() {
		return nil
	}
	return s.rawLog.Close()
}

// IsMonotonic passes the wrapped store's answer through.
func (s sturdyLog) IsMonotonic() bool {
	return isMonotonic(s.rawLog)
}

func (s sturdyLog) GetLog(index uint64, l *raft.Log) error {
	err := s.do(func() error { return s.rawLog.GetLog(index, l) })
	if err == nil || errors.Is(err, raft.ErrLogNotFound) {
		return err
	}
	return unreadable("read raft log", err)
}

func (s sturdyLog) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

func (s sturdyLog) StoreLogs(logs []*raft.Log) error {
	return s.do(func() error { return s.rawLog.StoreLogs(logs) })
}

func (s sturdyLog) DeleteRange(first, last uint64) error {
	return s.do(func() error { return s.rawLog.DeleteRange(first, last) })
}

// advise says what to do about an error of this node's own files.
func advise(err error) error {
	if err == nil {
		return nil
	}
	for _, damage := range []error{fsm.ErrCorrupt, fsm.ErrDiverged, ErrLog, ErrSnapshot, ErrGap, ErrRolledBack} {
		if errors.Is(err, damage) {
			return fmt.Errorf("%w: "+ComeBack, err)
		}
	}
	return err
}
