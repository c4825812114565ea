package node

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"
)

// TestLogFitsASnapshot: whatever a crash leaves of a log beside a snapshot, what
// follows the snapshot can be appended, and is there.
func TestLogFitsASnapshot(t *testing.T) {
	const snapshot, term = 20, 2
	for _, kind := range []string{LogStoreBolt, LogStoreWAL} {
		for what, log := range map[string][2]uint64{ // first and last index
			"none": {}, "ends before it": {1, 12}, "reaches it": {5, 20}, "goes on": {5, 25},
		} {
			t.Run(kind+" "+what, func(t *testing.T) {
				dir := t.TempDir()
				l, _, err := openLog(dir, kind, silent)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = l.Close() }()
				store := func(i uint64) {
					t.Helper()
					if err := l.StoreLogs([]*raft.Log{{Index: i, Term: term, Data: []byte("x")}}); err != nil {
						t.Fatal(err)
					}
				}
				for i := log[0]; i <= log[1] && i > 0; i++ {
					store(i)
				}
				if err := fitLog(l, snapshot, term); err != nil {
					t.Fatal(err)
				}
				next := max(snapshot, log[1]) + 1
				store(next)
				for i := uint64(snapshot + 1); i <= next; i++ {
					var entry raft.Log
					if err := l.GetLog(i, &entry); err != nil {
						t.Errorf("entry %d: %v", i, err)
					}
				}
				var entry raft.Log
				if err := l.GetLog(next+1, &entry); !errors.Is(err, raft.ErrLogNotFound) {
					t.Errorf("an entry that was not stored: %v", err)
				}
			})
		}
	}
}
