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
