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

func TestLogStoreIsFixed(t *testing.T) {
	dir := t.TempDir()
	l, kind, err := openLog(dir, "", silent)
	if err != nil || kind != LogStoreBolt {
		t.Fatal(kind, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openLog(dir, LogStoreWAL, silent); !errors.Is(err, ErrLogStore) {
		t.Fatalf("another store: %v", err)
	}
}

// TestTruncatedLogReopens: a log whose end was cut off, as raft does to a follower
// that another leader overrules, is there in full when it is opened again, as often
// as that happens.
func TestTruncatedLogReopens(t *testing.T) {
	for _, kind := range []string{LogStoreBolt, LogStoreWAL} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			want := map[uint64]uint64{} // index to term
			last := uint64(0)
			for term := uint64(1); term <= 5; term++ {
				l, _, err := openLog(dir, kind, silent)
				if err != nil {
					t.Fatal(err)
				}
				for i := uint64(1); i <= last; i++ {
					var entry raft.Log
					if err := l.GetLog(i, &entry); err != nil || entry.Term != want[i] {
						t.Fatalf("entry %d of term %d, not %d: %v", i, entry.Term, want[i], err)
					}
				}
				if last > 0 {
					if err := l.DeleteRange(last-3, last); err != nil {
						t.Fatal(err)
					}
					last -= 4
				}
				for range 10 {
					last++
					want[last] = term
					if err := l.StoreLogs([]*raft.Log{{Index: last, Term: term, Data: []byte("x")}}); err != nil {
						t.Fatal(err)
					}
				}
				if term == 5 { // from the front too
					if err := l.DeleteRange(1, 2); err != nil {
						t.Fatal(err)
					}
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			}
			l, _, err := openLog(dir, kind, silent)
			if err != nil {
				t.Fatal(err)
			}
			first, err1 := l.FirstIndex()
			end, err2 := l.LastIndex()
			if first != 3 || end != last || err1 != nil || err2 != nil {
				t.Errorf("it goes from %d to %d, not %d: %v, %v", first, end, last, err1, err2)
			}
			for i := first; i <= last; i++ {
				var entry raft.Log
				if err := l.GetLog(i, &entry); err != nil || entry.Term != want[i] || entry.Index != i {
					t.Errorf("entry %d of term %d, not %d: %v", i, entry.Term, want[i], err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
