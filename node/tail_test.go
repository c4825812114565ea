package node

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
)

// tailed is a log on disk with its mark.
type tailed struct {
	*testing.T
	dir, kind string
	log       tailedLog
}

func newTailed(t *testing.T, kind string) *tailed {
	l := &tailed{T: t, dir: t.TempDir(), kind: kind}
	l.open()
	return l
}

func (l *tailed) open() {
	l.Helper()
	raw, _, err := openLog(l.dir, l.kind, silent)
	if err != nil {
		l.Fatal(err)
	}
	if l.log, err = openTailed(l.dir, raw); err != nil {
		l.Fatal(err)
	}
}

func (l *tailed) close() {
	l.Helper()
	if err := l.log.Close(); err != nil {
		l.Fatal(err)
	}
}

func (l *tailed) store(from, to uint64) {
	l.Helper()
	for i := from; i <= to; i++ {
		if err := l.log.StoreLogs([]*raft.Log{{Index: i, Term: 1, Data: bytes.Repeat([]byte{byte(i)}, 50)}}); err != nil {
			l.Fatal(err)
		}
	}
}

// refused opens the log and wants it to be called damaged.
func (l *tailed) refused(what string) {
	l.Helper()
	raw, _, err := openLog(l.dir, l.kind, silent)
	if err == nil {
		_, err = openTailed(l.dir, raw)
		if closed := raw.Close(); closed != nil {
			l.Fatal(closed)
		}
	}
	if !errors.Is(err, ErrLog) {
		l.Errorf("%s: %v, not ErrLog", what, err)
	}
}

func (l *tailed) logFile() string {
	l.Helper()
	if l.kind == LogStoreBolt {
		return filepath.Join(l.dir, raftDir, "log.db")
	}
	segments, err := filepath.Glob(filepath.Join(l.dir, raftDir, "wal", "*.wal"))
	if err != nil || len(segments) == 0 {
		l.Fatal("no segment", err)
	}
	return segments[len(segments)-1]
}

// A log that lost its end is refused, whatever its library makes of it.
func TestLostTailIsFound(t *testing.T) {
	onBoth(t, func(t *testing.T, kind string) {
		l := newTailed(t, kind)
		l.store(1, 5)
		l.close()
		file := l.logFile()
		before := readFile(t, file)
		l.open()
		l.store(6, 9)
		l.close()
		after := readFile(t, file)
		if err := os.WriteFile(file, before, 0o600); err != nil {
			t.Fatal(err)
		}
		l.refused("an older copy of the log")
		if kind == LogStoreWAL { // bolt keeps such pages from its reader only
			at := bytes.LastIndex(after, bytes.Repeat([]byte{9}, 50))
			after[at+20] ^= 4
			if err := os.WriteFile(file, after, 0o600); err != nil {
				t.Fatal(err)
			}
			l.refused("a bit of the last entry")
		}
	})
}

// Whoever cuts the log off takes its mark back first, and the next entries raise
// it again.
func TestMarkFollowsTheLog(t *testing.T) {
	onBoth(t, func(t *testing.T, kind string) {
		l := newTailed(t, kind)
		l.store(1, 9)
		for _, cut := range []struct{ first, last, from, to uint64 }{
			{1, 3, 10, 12},    // compaction
			{8, 12, 8, 11},    // another leader's entries
			{4, 11, 100, 101}, // a snapshot in place of all
		} {
			if err := l.log.DeleteRange(cut.first, cut.last); err != nil {
				t.Fatal(err)
			}
			l.close()
			l.open()
			l.store(cut.from, cut.to)
			l.close()
			l.open()
		}
		l.close()
		l.open()
		l.close()
	})
}

// A kill must not leave the mark behind what was stored long before.
func TestMarkIsWrittenSoon(t *testing.T) {
	l := newTailed(t, LogStoreWAL)
	defer l.close()
	for _, last := range []uint64{3, 7} {
		l.store(last-2, last)
		until(t, "the mark to say what was stored", func() bool {
			return checkTail(readFile(t, filepath.Join(l.dir, raftDir, tailFile)), last-1) != nil
		})
		l.store(last+1, last+1)
	}
}

func TestDamagedMarkIsFound(t *testing.T) {
	l := newTailed(t, LogStoreBolt)
	l.store(1, 5)
	l.close()
	file := filepath.Join(l.dir, raftDir, tailFile)
	good := readFile(t, file)
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		if err := checkTail(bad, 5); err == nil {
			t.Errorf("byte %d of the mark may be anything", at)
		}
	}
	if err := checkTail(good, 5); err != nil {
		t.Error(err)
	}
}

// storedStable makes a stable store that holds all that raft stores there.
func storedStable(t testing.TB) (dir, file string, data []byte) {
	t.Helper()
	dir = t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, raftDir), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := openStable(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range stableKeys {
		err = errors.Join(err, s.Set(key, make([]byte, 60)), s.Set(key, []byte("sealed")))
	}
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, raftDir, "stable.db")
	return dir, file, readFile(t, file)
}

// Where bbolt would go on from the other meta page, a vote would be forgotten.
func TestDamagedMetaPageIsFound(t *testing.T) {
	dir, file, good := storedStable(t)
	for _, at := range []int{boltHeader + 16, os.Getpagesize() + boltHeader + boltSumAt} {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openStable(dir); !errors.Is(err, ErrLog) {
			t.Errorf("a bit at %d: %v, not ErrLog", at, err)
		}
	}
}

// Whatever bit flips in what a database holds: it opens with all that was stored, or
// says that it is damaged. bbolt alone panics in a goroutine of its own, or never returns.
func TestFlippedBitsOfTheStableStore(t *testing.T) {
	dir, file, good := storedStable(t)
	found := 0
	for at := range good {
		if good[at] == 0 {
			continue
		}
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[at] ^= 1 << bit
			if err := os.WriteFile(file, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := openStable(dir)
			switch {
			case err == nil: // what is in them is sealed
				for _, key := range stableKeys {
					_, lost := s.Get(key)
					err = errors.Join(err, lost)
				}
				err = errors.Join(err, s.Close())
			case errors.Is(err, ErrLog):
				found, err = found+1, nil
			}
			if err != nil {
				t.Errorf("bit %d at %d: %v", bit, at, err)
			}
		}
	}
	if found == 0 {
		t.Error("no damage was found: the test shows nothing")
	}
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
