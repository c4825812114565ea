package node

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// watchdog ends the node when its log's disk fails or hangs. Raft writes in the
// leader's loop: a leader whose disk hangs keeps leading, answers nothing, and
// can't even hand over (hashicorp/raft#503).
type watchdog struct {
	raft.LogStore
	hang time.Duration
	fail func(error)
	// stores counts what was written to the log: each is at least one sync.
	stores *atomic.Uint64
}

// IsMonotonic passes the wrapped store's answer through.
func (w watchdog) IsMonotonic() bool {
	return isMonotonic(w.LogStore)
}

func (w watchdog) StoreLog(l *raft.Log) error { return w.StoreLogs([]*raft.Log{l}) }

func (w watchdog) StoreLogs(logs []*raft.Log) error {
	w.stores.Add(1)
	return w.watch("write", func() error { return w.LogStore.StoreLogs(logs) })
}

func (w watchdog) DeleteRange(first, last uint64) error {
	return w.watch("truncate", func() error { return w.LogStore.DeleteRange(first, last) })
}

func (w watchdog) watch(what string, do func() error) error {
	timer := time.AfterFunc(w.hang, func() {
		w.fail(fmt.Errorf("%w: a %s takes longer than %s", ErrDisk, what, w.hang))
	})
	defer timer.Stop()
	if err := do(); err != nil {
		err = fmt.Errorf("%w: %s: %w", ErrDisk, what, err)
		w.fail(err)
		return err
	}
	return nil
}
