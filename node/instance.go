package node

import (
	"sync"

	"github.com/hashicorp/raft"
)

// instance is one life of raft: it is closed and opened again after some
// snapshots. raft.Shutdown gives only its first caller a future that waits, so
// all share that one.
type instance struct {
	*raft.Raft
	once  sync.Once
	ended raft.Future
}

// Shutdown begins to end raft, and returns the future that waits for it.
func (i *instance) Shutdown() raft.Future {
	i.once.Do(func() { i.ended = i.Raft.Shutdown() })
	return i.ended
}
