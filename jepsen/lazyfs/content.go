package lazyfs

import (
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	blockSize = 4096
	// maxUnsynced is how much of a file may wait before it is written back.
	maxUnsynced = 64 << 20
)

// change is a write, or (cut) a new size.
type change struct {
	off  int64
	data []byte
	cut  bool
}

// content is a file's content: the file holds what was written, and content what
// it takes to go back to what was synced. Its methods are safe for concurrent use.
type content struct {
	mu      sync.Mutex
	file    *os.File // open as long as something is not synced
	size    int64    // that was synced
	old     map[int64][]byte
	doomed  map[int64]bool // blocks that a failed sync dropped
	changes []change       // since then, in order
	passed  int            // changes that are not there any more
	waiting int64          // bytes in changes
}

// begin makes sure that the content can be restored. The caller holds mu.
func (c *content) begin(f *os.File) error {
	if c.file != nil {
		return nil
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), f.Name())
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	c.file, c.size = file, info.Size()
	c.old, c.doomed = map[int64][]byte{}, map[int64]bool{}
	return nil
}

// keep saves the blocks of a range before they change; a block that is nil was
// not there or zero.
func (c *content) keep(from, to int64) error {
	for b := from / blockSize; b*blockSize < to; b++ {
		delete(c.doomed, b) // the page is written as a whole
		if _, kept := c.old[b]; kept {
			continue
		}
		if b*blockSize >= c.size {
			c.old[b] = nil
			continue
		}
		block := make([]byte, blockSize)
		if _, err := c.file.ReadAt(block, b*blockSize); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		c.old[b] = block
	}
	return nil
}

// write writes through f.
func (c *content) write(f *os.File, data []byte, off int64) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.begin(f); err != nil {
		return 0, err
	}
	if err := c.keep(off, off+int64(len(data))); err != nil {
		return 0, err
	}
	n, err := c.file.WriteAt(data, off)
	c.changes = append(c.changes, change{off: off, data: append([]byte(nil), data[:n]...)})
	if c.waiting += int64(n); c.waiting > maxUnsynced {
		c.commit(len(c.changes))
	}
	return n, err
}

// resize gives the file a size.
func (c *content) resize(f *os.File, size int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.begin(f); err != nil {
		return err
	}
	info, err := c.file.Stat()
	if err != nil {
		return err
	}
	if err := c.keep(size, info.Size()); err != nil {
		return err
	}
	c.changes = append(c.changes, change{off: size, cut: true})
	return c.file.Truncate(size)
}

// mark is how far a sync that begins now reaches.
func (c *content) mark() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.passed + len(c.changes)
}

// synced keeps what was changed before the mark.
func (c *content) synced(mark int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if mark > c.passed {
		c.commit(mark - c.passed)
	}
}

// commit does it. The caller holds mu.
func (c *content) commit(mark int) {
	before, after := c.changes[:mark], c.changes[mark:]
	for b, block := range c.old {
		switch {
		case c.doomed[b]:
		case touches(after, b):
			c.old[b] = applied(block, before, b)
		default:
			delete(c.old, b)
		}
	}
	for _, ch := range before {
		c.size = ch.size(c.size)
	}
	c.changes, c.waiting, c.passed = append([]change(nil), after...), 0, c.passed+mark
	for _, ch := range after {
		c.waiting += int64(len(ch.data))
	}
	if len(c.old) == 0 && len(c.changes) == 0 {
		c.close()
	}
}

func (c *content) close() {
	if c.file != nil {
		_ = c.file.Close()
	}
	c.passed += len(c.changes)
	c.file, c.old, c.doomed, c.changes, c.waiting = nil, nil, nil, nil, 0
}

// failed drops what waits for a sync: what the kernel failed to write it takes
// for clean.
func (c *content) failed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for b := range c.old {
		c.doomed[b] = true
	}
	c.passed += len(c.changes)
	c.changes, c.waiting = nil, 0
}

// size is the file's after the change.
func (ch change) size(before int64) int64 {
	if ch.cut {
		return ch.off
	}
	return max(before, ch.off+int64(len(ch.data)))
}

func touches(changes []change, b int64) bool {
	for _, ch := range changes {
		if ch.cut && ch.off < (b+1)*blockSize {
			return true
		}
		if !ch.cut && ch.off < (b+1)*blockSize && ch.off+int64(len(ch.data)) > b*blockSize {
			return true
		}
	}
	return false
}

// applied is a block after changes.
func applied(block []byte, changes []change, b int64) []byte {
	out := make([]byte, blockSize)
	copy(out, block)
	for _, ch := range changes {
		if !ch.cut {
			from, data := ch.off-b*blockSize, ch.data
			if from < 0 {
				data, from = data[min(-from, int64(len(data))):], 0
			}
			if from < blockSize {
				copy(out[from:], data)
			}
		} else if from := max(ch.off-b*blockSize, 0); from < blockSize {
			clear(out[from:])
		}
	}
	return out
}
