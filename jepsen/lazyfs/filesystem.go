package lazyfs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// filesystem is the mount, in the process that serves it.
type filesystem struct {
	dir, backing string
	gate         *gate
	names        *names
	seed         uint64
	cuts         uint64 // power cuts so far
	server       *fuse.Server

	mu       sync.Mutex
	contents map[uint64]*content // by inode
}

func openFilesystem(dir, backing string, seed uint64) (*filesystem, error) {
	f := &filesystem{dir: dir, backing: backing, gate: newGate(seed), seed: seed, contents: map[uint64]*content{}}
	held := filepath.Join(backing, "held")
	f.names = newNames(held, f.drop)
	for _, d := range []string{f.data(), held} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	if err := f.names.reset(); err != nil { // of a process that was killed: all that was written is there
		return nil, err
	}
	detachDead(dir)
	return f, f.mount()
}

func (f *filesystem) data() string { return filepath.Join(f.backing, "data") }

func (f *filesystem) mount() error {
	root, err := fs.NewLoopbackRoot(f.data())
	if err != nil {
		return err
	}
	below, ok := root.(*fs.LoopbackNode)
	if !ok {
		return errors.New("the loopback's root is of another type")
	}
	o, errno := look(f.data())
	if errno != 0 {
		return errno
	}
	top := &node{below, f}
	below.RootData.RootNode = top
	// Nothing is cached but the pages of open files: those of a mapping are the
	// same as those that writes go through.
	f.server, err = fs.Mount(f.dir, top, &fs.Options{
		RootStableAttr: &fs.StableAttr{Ino: o.ino, Gen: 1},
		MountOptions: fuse.MountOptions{
			AllowOther: true, Options: []string{"default_permissions"}, DirectMountStrict: true, DisableXAttrs: true,
			ExplicitDataCacheControl: true, FsName: "lazyfs", Name: "lazyfs", MaxWrite: 1 << 20,
		},
	})
	if err != nil {
		return fmt.Errorf("mount %s: %w", f.dir, err)
	}
	return nil
}

const unmountTimeout = 5 * time.Second

var errBusy = errors.New("the mount is in use: end who uses it")

// unmount waits until nobody uses the mount any more.
func (f *filesystem) unmount() error {
	for end := time.Now().Add(unmountTimeout); ; time.Sleep(lookInterval) {
		err := f.server.Unmount()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w: %w", errBusy, err)
		}
	}
}

func (f *filesystem) content(ino uint64) *content {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.contents[ino]
	if c == nil {
		c = &content{}
		f.contents[ino] = c
	}
	return c
}

// drop removes what only pending changes needed.
func (f *filesystem) drop(o object, held string) bool {
	var st syscall.Stat_t
	if syscall.Lstat(held, &st) != nil {
		return false // a directory that was moved, and is there still
	}
	if o.dir {
		_ = os.RemoveAll(held)
		return true
	}
	_ = os.Remove(held)
	if st.Nlink == 1 {
		f.gate.give(st.Size)
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.contents, o.ino) // who has it open goes on with his
	}
	return false
}

// Lost is what a power cut took.
type Lost struct {
	Files int   // whose content changed
	Bytes int64 // that were written to them
	Names int   // in directories
}

// forget makes the disk what a power cut leaves of it. Nobody may use the mount.
func (f *filesystem) forget(tear bool) (lost Lost, err error) {
	if err := f.unmount(); err != nil {
		return lost, err
	}
	defer func() { err = errors.Join(err, f.mount()) }()
	f.names.mu.Lock()
	defer f.names.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cuts++
	var chance *rand.Rand
	if tear {
		chance = rand.New(rand.NewPCG(f.seed, f.cuts))
	}
	for _, ino := range sortedKeys(f.contents) {
		n, err := f.contents[ino].forget(chance)
		if err != nil {
			return lost, fmt.Errorf("forget content: %w", err)
		}
		if lost.Bytes += n; n > 0 {
			lost.Files++
		}
	}
	if tear {
		f.mu.Unlock() // drop takes it
		f.names.keepFirst(chance.IntN(len(f.names.pending) + 1))
		f.mu.Lock()
	}
	f.contents = map[uint64]*content{}
	if lost.Names, err = f.names.undo(); err != nil {
		return lost, fmt.Errorf("forget names: %w", err)
	}
	return lost, nil
}
