package node

import (
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/hexrdev/hexrd/internal/durable"
)

// oldSegments is how many segments wait to be removed; more go at once.
const oldSegments = 1024

// walSegments opens and removes the segments of a raft-wal.
//
// Version 0.4.0 seals a segment whose end was truncated without writing its index,
// and can't read it when it is opened again (hashicorp/raft-wal#31): such a segment is
// read through, as the one that is written to is. Its entries were synced before; what
// is behind the last one that counts is never asked for.
//
// It also removes what a snapshot made needless while entries wait for its lock, 20 ms
// for each segment: here a goroutine does. What it does not come to, the next open does.
type walSegments struct {
	types.SegmentFiler
	dir string
	log *slog.Logger

	mu      sync.Mutex
	old     chan string // files
	closed  bool
	removed sync.WaitGroup
}

func openSegments(dir string, filer types.SegmentFiler, log *slog.Logger) *walSegments {
	s := &walSegments{SegmentFiler: filer, dir: dir, log: log, old: make(chan string, oldSegments)}
	s.removed.Go(func() {
		for name := range s.old {
			s.remove(name)
		}
	})
	return s
}

func (s *walSegments) Open(info types.SegmentInfo) (types.SegmentReader, error) {
	if info.IndexStart == 0 {
		return s.RecoverTail(info)
	}
	return s.SegmentFiler.Open(info)
}

// Delete removes a segment soon.
func (s *walSegments) Delete(baseIndex, id uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	name := filepath.Join(s.dir, segment.FileName(types.SegmentInfo{BaseIndex: baseIndex, ID: id}))
	select {
	case s.old <- name:
	default:
		s.remove(name)
	}
	return nil
}

func (s *walSegments) remove(name string) {
	if err := durable.Remove(name); err != nil {
		s.log.Warn("an old segment of the raft log was not removed: the node tries again when it starts")
	}
}

// close waits until what is old is gone.
func (s *walSegments) close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.old)
	}
	s.mu.Unlock()
	s.removed.Wait()
}
