package cluster

import (
	"log/slog"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

var quietLog = slog.New(slog.DiscardHandler)

func raftAddress(l *Listener) raft.ServerAddress { return raft.ServerAddress(l.Addr().String()) }

// until waits for a condition, for at most half a minute.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
