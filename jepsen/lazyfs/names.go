package lazyfs

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// object is a file or directory below the mount; zero: none.
type object struct {
	ino uint64
	dir bool
}

// slot is a name in a directory.
type slot struct {
	dir  uint64
	name string
}

// rebinding is a slot whose object changed.
type rebinding struct {
	slot
	was object
}

// names knows which changes of directories were not synced, and keeps what they
// removed. Files are kept by a further link in a directory beside, removed
// directories are moved there. The zero value is not ready; mu guards it.
type names struct {
	mu      sync.Mutex
	held    string
	pending [][]rebinding       // one for each call, in order
	dirs    map[uint64]*os.File // that pending is about
	refs    map[uint64]int      // how many of pending need an object
	// gone hears that an object, perhaps in held, is no longer needed there, and
	// says whether that was a directory which is removed now.
	gone func(object, string) bool
}

func newNames(held string, gone func(object, string) bool) *names {
	return &names{held: held, dirs: map[uint64]*os.File{}, refs: map[uint64]int{}, gone: gone}
}

func (n *names) place(o object) string { return filepath.Join(n.held, strconv.FormatUint(o.ino, 10)) }

// look says what is at a path.
func look(path string) (object, syscall.Errno) {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return object{}, toErrno(err)
	}
	return object{st.Ino, st.Mode&syscall.S_IFMT == syscall.S_IFDIR}, 0
}

// hold keeps the file at a path from vanishing.
func (n *names) hold(o object, path string) syscall.Errno {
	if o == (object{}) || o.dir {
		return 0
	}
	err := unix.Linkat(unix.AT_FDCWD, path, unix.AT_FDCWD, n.place(o), 0)
	if errors.Is(err, unix.EEXIST) {
		return 0
	}
	return toErrno(err)
}

// put moves an empty directory away in place of removing it.
func (n *names) put(o object, path string) syscall.Errno {
	entries, err := os.ReadDir(path)
	if err != nil {
		return toErrno(err)
	}
	if len(entries) > 0 {
		return syscall.ENOTEMPTY
	}
	return toErrno(os.Rename(path, n.place(o)))
}

// record notes a call's changes. dirs are the paths of their directories.
func (n *names) record(dirs map[uint64]string, changes ...rebinding) syscall.Errno {
	for ino, path := range dirs {
		if n.dirs[ino] != nil {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			return toErrno(err)
		}
		n.dirs[ino] = f
	}
	for _, c := range changes {
		if c.was != (object{}) {
			n.refs[c.was.ino]++
		}
	}
	n.pending = append(n.pending, changes)
	return 0
}

// synced keeps what happened to a directory, and what it rests upon.
func (n *names) synced(dir uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.keep(dir)
}

func (n *names) keep(dir uint64) {
	need := map[slot]bool{}
	var waiting [][]rebinding
	var done []rebinding
	for _, op := range slices.Backward(n.pending) {
		kept := slices.ContainsFunc(op, func(c rebinding) bool { return c.dir == dir || need[c.slot] })
		if !kept {
			waiting = append(waiting, op)
			continue
		}
		for _, c := range op {
			need[c.slot] = true
		}
		done = append(done, op...)
	}
	slices.Reverse(waiting)
	n.pending = waiting
	n.release(done)
}

// keepFirst keeps a prefix of what waits.
func (n *names) keepFirst(count int) {
	done := slices.Concat(n.pending[:count]...)
	n.pending = n.pending[count:]
	n.release(done)
}

// release lets go what was only needed to undo these.
func (n *names) release(done []rebinding) {
	for _, c := range done {
		if c.was == (object{}) {
			continue
		}
		if n.refs[c.was.ino]--; n.refs[c.was.ino] == 0 {
			delete(n.refs, c.was.ino)
			if n.gone(c.was, n.place(c.was)) {
				n.keep(c.was.ino) // nothing in it can come back
			}
		}
	}
	used := map[uint64]bool{}
	for _, op := range n.pending {
		for _, c := range op {
			used[c.dir] = true
		}
	}
	for ino, f := range n.dirs {
		if !used[ino] {
			_ = f.Close()
			delete(n.dirs, ino)
		}
	}
}

// undo makes all that waits not have happened. It returns how many names changed.
func (n *names) undo() (int, error) {
	before := map[slot]object{}
	for _, op := range slices.Backward(n.pending) { // the first change has the last word
		for _, c := range op {
			before[c.slot] = c.was
		}
	}
	changed := map[slot]object{}
	for s, was := range before { // first all away: a directory may be needed elsewhere
		now, err := n.evict(s, was)
		if err != nil {
			return 0, err
		}
		if now != was {
			changed[s] = was
		}
	}
	for s, was := range changed {
		if was == (object{}) {
			continue
		}
		if err := n.bind(s, was); err != nil {
			return 0, err
		}
	}
	return len(changed), n.reset()
}

// evict makes room at a slot, unless the right object is there.
func (n *names) evict(s slot, was object) (object, error) {
	fd := int(n.dirs[s.dir].Fd())
	var st unix.Stat_t
	err := unix.Fstatat(fd, s.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return object{}, nil
	}
	now := object{st.Ino, st.Mode&unix.S_IFMT == unix.S_IFDIR}
	switch {
	case err != nil || now == was:
		return now, err
	case now.dir:
		return now, unix.Renameat(fd, s.name, unix.AT_FDCWD, n.place(now))
	}
	return now, unix.Unlinkat(fd, s.name, 0)
}

func (n *names) bind(s slot, was object) error {
	fd := int(n.dirs[s.dir].Fd())
	if was.dir {
		return unix.Renameat(unix.AT_FDCWD, n.place(was), fd, s.name)
	}
	return unix.Linkat(unix.AT_FDCWD, n.place(was), fd, s.name, 0)
}

// reset forgets everything, and removes what is left beside.
func (n *names) reset() error {
	for _, f := range n.dirs {
		_ = f.Close()
	}
	n.pending, n.dirs, n.refs = nil, map[uint64]*os.File{}, map[uint64]int{}
	entries, err := os.ReadDir(n.held)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(n.held, e.Name())))
	}
	return err
}
