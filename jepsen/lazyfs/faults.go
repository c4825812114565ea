package lazyfs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Faults of a disk; the zero value has none.
type Faults struct {
	Delay time.Duration // of every write and sync
	// The shares of the writes, syncs and reads that fail, 0 to 1.
	WriteErrors, SyncErrors, ReadErrors float64
	Errno                               syscall.Errno // that they fail with; 0: EIO
	// Full lets no more than Room further bytes in; what is in a file already can
	// be written over. Where it is Hidden, as a quota is, statfs shows space still.
	Full   bool
	Room   int64
	Hidden bool
}

// Validate says what is wrong.
func (f Faults) Validate() error {
	for _, share := range []float64{f.WriteErrors, f.SyncErrors, f.ReadErrors} {
		if !(share >= 0 && share <= 1) {
			return fmt.Errorf("lazyfs: a share of %v: use 0 to 1", share)
		}
	}
	if f.Delay < 0 || f.Room < 0 {
		return fmt.Errorf("lazyfs: a delay of %s, and room for %d bytes: use 0 or more", f.Delay, f.Room)
	}
	return nil
}

// gate is where every call passes that may fail. Its methods are safe for
// concurrent use.
type gate struct {
	mu      sync.Mutex
	faults  Faults
	room    int64
	chance  *rand.Rand
	changed chan struct{} // closed when faults change
}

func newGate(seed uint64) *gate {
	return &gate{chance: rand.New(rand.NewPCG(seed, 1)), changed: make(chan struct{})}
}

// set replaces the faults; who waits because of the old ones goes on.
func (g *gate) set(f Faults) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.faults, g.room = f, f.Room
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *gate) now() (Faults, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.faults, g.changed
}

// fails decides whether a call fails of which a share does.
func (g *gate) fails(share func(Faults) float64) syscall.Errno {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := share(g.faults); p == 0 || g.chance.Float64() >= p {
		return 0
	}
	if g.faults.Errno != 0 {
		return g.faults.Errno
	}
	return syscall.EIO
}

func writes(f Faults) float64 { return f.WriteErrors }
func syncs(f Faults) float64  { return f.SyncErrors }
func reads(f Faults) float64  { return f.ReadErrors }

// take uses up room for n bytes, or says that the disk is full. 0 bytes need room
// for one: a name.
func (g *gate) take(n int64) syscall.Errno {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.faults.Full {
		return 0
	}
	if g.room < max(n, 1) {
		return syscall.ENOSPC
	}
	g.room -= n
	return 0
}

// give returns room.
func (g *gate) give(n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.room += n
}

// free is what statfs shows; false: what the directory below has.
func (g *gate) free() (int64, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.room, g.faults.Full && !g.faults.Hidden
}

// lookInterval is how often a call that is delayed looks at its caller.
const lookInterval = 20 * time.Millisecond

// wait delays a call. It ends with EINTR when the caller is being killed, which
// would have to wait for it else. Other signals do not end it: no disk's call
// does, and the Go runtime sends them all the time.
func (g *gate) wait(ctx context.Context) syscall.Errno {
	f, changed := g.now()
	if f.Delay == 0 {
		return 0
	}
	over := time.NewTimer(f.Delay)
	defer over.Stop()
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	for {
		select {
		case <-over.C:
			return 0
		case <-changed:
			return 0
		case <-look.C:
			if c, ok := fuse.FromContext(ctx); ok && dying(c.Pid) {
				return syscall.EINTR
			}
		}
	}
}

// dying reports whether a thread has SIGKILL to come.
func dying(tid uint32) bool {
	data, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(tid), 10) + "/status")
	if err != nil {
		return true // it is gone
	}
	for line := range strings.Lines(string(data)) {
		if mask, ok := strings.CutPrefix(line, "SigPnd:"); ok {
			pending, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err == nil && pending&(1<<(syscall.SIGKILL-1)) != 0
		}
	}
	return false
}
