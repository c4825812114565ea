package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// Deleted segments are gone once the log is closed, however many they are; one that is
// deleted after that stays for the next open.
func TestOldSegmentsAreRemoved(t *testing.T) {
	dir := t.TempDir()
	s := openSegments(dir, segment.NewFiler(dir, walfs.New()), silent)
	write := func(id uint64) string {
		t.Helper()
		name := filepath.Join(dir, segment.FileName(types.SegmentInfo{BaseIndex: id, ID: id}))
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	var names []string
	for id := range uint64(oldSegments + 100) {
		names = append(names, write(id))
	}
	for id := range uint64(len(names)) {
		if err := s.Delete(id, id); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(1, 1); err != nil { // is gone already, or soon
		t.Fatal(err)
	}
	s.close()
	s.close()
	for _, name := range names {
		if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("it is still there: %v", err)
		}
	}
	late := write(1)
	if err := s.Delete(1, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(late); err != nil {
		t.Errorf("who closed the log removes no more: %v", err)
	}
}

// A log that a snapshot made needless leaves no files, nor does one whose process died
// before it came to them.
func TestNeedlessSegmentsGo(t *testing.T) {
	dir := t.TempDir()
	l, _, err := openLog(dir, LogStoreWAL, silent)
	if err != nil {
		t.Fatal(err)
	}
	segments := func() int {
		t.Helper()
		names, err := filepath.Glob(filepath.Join(dir, raftDir, "wal", "*.wal"))
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	last := uint64(0)
	for segments() < 3 {
		last++
		if err := l.StoreLogs([]*raft.Log{{Index: last, Term: 1, Data: make([]byte, 8<<20)}}); err != nil {
			t.Fatal(err)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, raftDir, "wal", "*.wal"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.DeleteRange(1, last-1), l.Close()); err != nil {
		t.Fatal(err)
	}
	if n := segments(); n > 2 { // the last one is written to, or just full
		t.Errorf("%d segments are left", n)
	}
	if err := os.WriteFile(left[0], []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, _, err = openLog(dir, "", silent); err != nil {
		t.Fatal(err)
	}
	if first, err := l.FirstIndex(); err != nil || first != last {
		t.Errorf("first index %d, %v, want %d", first, err, last)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what a crash left is still there: %v", err)
	}
}
