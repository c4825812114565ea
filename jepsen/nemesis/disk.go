package nemesis

import (
	"context"
	"syscall"
	"time"
)

// Disk is the file system under the directory of one node. Its methods are safe
// for concurrent use; all but Close may be called while a node runs on it.
type Disk interface {
	Slow(delay time.Duration) error // writes and syncs take so much longer; 0: no more
	Fail(err syscall.Errno) error   // writes and syncs return it, e.g. EIO; 0: no more
	Fill(full bool) error           // writes that need room return ENOSPC
	Lose() error                    // forget what was never synced; after a kill, while nobody has files open
	Tear() error                    // as Lose, but part of what was not synced is kept
	Close() error                   // unmount
}

// Mount puts a Disk under the directory dir, which is empty and exists; what it
// holds is kept in the directory backing. What happens by chance follows from the
// seed.
type Mount func(ctx context.Context, dir, backing string, seed uint64) (Disk, error)
