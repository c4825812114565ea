package node

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/hashicorp/raft"
)

var silent = slog.New(slog.DiscardHandler)

// Both log stores keep what was stored, and can be opened again in the same
// process (raft-wal's own Close leaves a lock behind).
func TestLogStoresReopen(t *testing.T) {
	for _, kind := range []string{LogStoreBolt, LogStoreWAL} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			l, _, err := openLog(dir, kind, silent)
			if err != nil {
				t.Fatal(err)
			}
			for i := uint64(1); i <= 9; i++ {
				if err := l.StoreLogs([]*raft.Log{{Index: i, Term: 2, Data: []byte("x")}}); err != nil {
					t.Fatal(err)
				}
			}
			for range 3 {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				if l, _, err = openLog(dir, "", silent); err != nil {
					t.Fatal(err)
				}
				if last, err := l.LastIndex(); err != nil || last != 9 {
					t.Fatalf("last index %d, %v", last, err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A log whose end was cut off, as raft does with entries that were never committed,
// is read as it was after a restart (hashicorp/raft-wal#31), however often.
func TestLogStoresTruncated(t *testing.T) {
	for _, kind := range []string{LogStoreBolt, LogStoreWAL} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			l, _, err := openLog(dir, kind, silent)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			terms := map[uint64]uint64{} // of each entry
			last, first := uint64(0), uint64(1)
			for round := uint64(1); round <= 8; round++ {
				for range 5 {
					last++
					terms[last] = round
					if err := l.StoreLogs([]*raft.Log{{Index: last, Term: round, Data: make([]byte, 1000*round)}}); err != nil {
						t.Fatal(err)
					}
				}
				if err := l.DeleteRange(last-1, last); err != nil {
					t.Fatal(err)
				}
				last -= 2
				if round == 5 { // and its begin, as after a snapshot
					if err := l.DeleteRange(first, 4); err != nil {
						t.Fatal(err)
					}
					first = 5
				}
				if round%3 != 0 {
					if err := l.Close(); err != nil {
						t.Fatal(err)
					}
					if l, _, err = openLog(dir, "", silent); err != nil {
						t.Fatal(err)
					}
				}
				if f, err := l.FirstIndex(); err != nil || f != first {
					t.Fatalf("round %d: first index %d, %v", round, f, err)
				}
				if got, err := l.LastIndex(); err != nil || got != last {
					t.Fatalf("round %d: last index %d, %v, want %d", round, got, err, last)
				}
				for i := first; i <= last; i++ {
					var entry raft.Log
					if err := l.GetLog(i, &entry); err != nil || entry.Index != i || entry.Term != terms[i] || len(entry.Data) != int(1000*terms[i]) {
						t.Fatalf("round %d: entry %d is %d of term %d, %d bytes, %v; want term %d", round, i, entry.Index, entry.Term, len(entry.Data), err, terms[i])
					}
				}
				var beyond raft.Log
				if err := l.GetLog(last+1, &beyond); !errors.Is(err, raft.ErrLogNotFound) {
					t.Fatalf("round %d: what was cut off is read: %v", round, err)
				}
			}
		})
	}
}

func TestLogStoreIsFixed(t *testing.T) {
	dir := t.TempDir()
	l, kind, err := openLog(dir, "", silent)
	if err != nil || kind != LogStoreWAL {
		t.Fatal(kind, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openLog(dir, LogStoreBolt, silent); !errors.Is(err, ErrLogStore) {
		t.Fatalf("another store: %v", err)
	}
}
