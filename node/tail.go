package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/internal/durable"
	"github.com/hexrdev/hexrd/node/nodepb"
)

const (
	tailFile   = "tail"
	tailFormat = 1
	// tailDelay is how long a mark may wait for later ones: as long as what a kill
	// leaves unmarked, and it keeps the write out of the way of an entry.
	tailDelay = 10 * time.Millisecond
)

// tailedLog remembers beside the log how far it reaches. Both log stores take
// damage at their end for a write that a crash cut short, and begin anew before
// it: entries that this node has acknowledged would be gone, and nobody told.
//
// The mark is written soon after the entries are durable and is not synced itself,
// so it never says more than is stored; before the end of the log is cut off, it is
// lowered and synced.
type tailedLog struct {
	rawLog
	*tailMark
}

// tailMark is the mark's file, and what is to be written to it.
type tailMark struct {
	file *os.File

	mu     sync.Mutex
	last   uint64
	later  *time.Timer // nil: last is written
	failed error
}

// openTailed holds an open log against its mark. A log without one gets it.
func openTailed(dir string, log rawLog) (tailedLog, error) {
	path := filepath.Join(dir, raftDir, tailFile)
	last, err := log.LastIndex()
	if err != nil {
		return tailedLog{}, unreadable("look at raft log", err)
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		data, err = encodeTail(last)
		if err == nil {
			err = durable.WriteFile(path, data)
		}
	case err == nil:
		err = checkTail(data, last)
	}
	if err != nil {
		return tailedLog{}, fmt.Errorf("open the raft log's mark: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return tailedLog{}, fmt.Errorf("open the raft log's mark: %w", err)
	}
	return tailedLog{log, &tailMark{file: file, last: last}}, nil
}

func encodeTail(last uint64) ([]byte, error) {
	return proto.Marshal(&nodepb.Tail{
		Format: tailFormat, Last: proto.Uint64(last), Checksum: proto.Uint32(tailChecksum(tailFormat, last)),
	})
}

func tailChecksum(format uint32, last uint64) uint32 {
	data := binary.BigEndian.AppendUint32(nil, format)
	return crc32.Checksum(binary.BigEndian.AppendUint64(data, last), crc32.MakeTable(crc32.Castagnoli))
}

// checkTail says whether a log that ends at last holds what the mark says was
// stored.
func checkTail(data []byte, last uint64) error {
	var tail nodepb.Tail
	if err := proto.Unmarshal(data, &tail); err != nil || tail.GetChecksum() != tailChecksum(tail.GetFormat(), tail.GetLast()) {
		return fmt.Errorf("%w: its mark can't be read", ErrLog)
	}
	if tail.GetFormat() != tailFormat {
		return fmt.Errorf("format %d of the raft log's mark is unknown: run a newer hexrd", tail.GetFormat())
	}
	if tail.GetLast() > last {
		return fmt.Errorf("%w: it ends at entry %d, and entry %d had been stored", ErrLog, last, tail.GetLast())
	}
	return nil
}

// raise has the mark written before long; an error of an earlier write.
func (t *tailMark) raise(last uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = last
	if t.later == nil && t.failed == nil {
		t.later = time.AfterFunc(tailDelay, func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.failed = errors.Join(t.failed, t.write())
		})
	}
	return t.failed
}

// lower takes the mark back, durably.
func (t *tailMark) lower(last uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = last
	return errors.Join(t.write(), t.file.Sync())
}

// write is called with mu held.
func (t *tailMark) write() error {
	t.later = nil
	data, err := encodeTail(t.last)
	if err == nil {
		_, err = t.file.WriteAt(data, 0)
	}
	if err != nil {
		return fmt.Errorf("write the raft log's mark: %w", err)
	}
	return nil
}

// close writes what waits; a write that comes later finds the file closed.
func (t *tailMark) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.later == nil {
		return t.file.Close()
	}
	t.later.Stop()
	return errors.Join(t.write(), t.file.Close())
}

// IsMonotonic passes the wrapped store's answer through.
func (t tailedLog) IsMonotonic() bool {
	return isMonotonic(t.rawLog)
}

func (t tailedLog) StoreLog(l *raft.Log) error { return t.StoreLogs([]*raft.Log{l}) }

func (t tailedLog) StoreLogs(logs []*raft.Log) error {
	if err := t.rawLog.StoreLogs(logs); err != nil || len(logs) == 0 {
		return err
	}
	return t.raise(logs[len(logs)-1].Index)
}

func (t tailedLog) DeleteRange(first, last uint64) error {
	if err := t.retreat(first, last); err != nil {
		return err
	}
	return t.rawLog.DeleteRange(first, last)
}

// retreat lowers the mark before the end of the log goes.
func (t tailedLog) retreat(first, last uint64) error {
	begin, err1 := t.FirstIndex()
	end, err2 := t.LastIndex()
	if err := errors.Join(err1, err2); err != nil || last < end {
		return err
	}
	kept := uint64(0)
	if first > begin {
		kept = first - 1
	}
	return t.lower(kept)
}

// Close leaves the log closed, too.
func (t tailedLog) Close() error { return errors.Join(t.rawLog.Close(), t.close()) }
