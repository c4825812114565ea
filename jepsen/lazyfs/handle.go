package lazyfs

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// handle is an open file.
type handle struct {
	f      *filesystem
	file   *os.File
	c      *content
	writes bool
}

var (
	_ fs.FileReader    = (*handle)(nil)
	_ fs.FileWriter    = (*handle)(nil)
	_ fs.FileFsyncer   = (*handle)(nil)
	_ fs.FileAllocater = (*handle)(nil)
	_ fs.FileGetattrer = (*handle)(nil)
	_ fs.FileReleaser  = (*handle)(nil)
	_ fs.FileFlusher   = (*handle)(nil)
)

// open opens a file for its user's flags. What is appended comes with its offset.
func (f *filesystem) open(path string, flags uint32) (*handle, syscall.Errno) {
	mode := os.O_RDONLY
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY || flags&syscall.O_TRUNC != 0 {
		mode = os.O_RDWR // to read what is written over
	}
	file, err := os.OpenFile(path, mode|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, toErrno(err)
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(int(file.Fd()), &st); err != nil {
		return nil, toErrno(errors.Join(err, file.Close()))
	}
	h := &handle{f: f, file: file, c: f.content(st.Ino), writes: mode == os.O_RDWR}
	if flags&syscall.O_TRUNC != 0 && st.Size > 0 {
		if errno := h.resize(0); errno != 0 {
			_ = file.Close()
			return nil, errno
		}
	}
	return h, 0
}

func (h *handle) size() int64 {
	info, err := h.file.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

func (h *handle) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if errno := h.f.gate.fails(reads); errno != 0 {
		return nil, errno
	}
	n, err := h.file.ReadAt(dest, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, toErrno(err)
	}
	return fuse.ReadResultData(dest[:n]), 0
}

func (h *handle) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	if errno := h.f.gate.wait(ctx); errno != 0 {
		return 0, errno
	}
	if errno := h.f.gate.fails(writes); errno != 0 {
		return 0, errno
	}
	if grows := off + int64(len(data)) - h.size(); grows > 0 {
		if errno := h.f.gate.take(grows); errno != 0 {
			return 0, errno
		}
	}
	n, err := h.c.write(h.file, data, off)
	return uint32(n), toErrno(err)
}

// resize gives the file a size: room is needed for what is added, as a file with
// holes needs it sooner or later.
func (h *handle) resize(size int64) syscall.Errno {
	grows := size - h.size()
	if grows > 0 {
		if errno := h.f.gate.take(grows); errno != 0 {
			return errno
		}
	} else {
		h.f.gate.give(-grows)
	}
	return toErrno(h.c.resize(h.file, size))
}

// Allocate knows room at the end of a file.
func (h *handle) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	const keepSize = 1
	if mode&^keepSize != 0 {
		return syscall.EOPNOTSUPP
	}
	if errno := h.f.gate.wait(ctx); errno != 0 {
		return errno
	}
	if errno := h.f.gate.fails(writes); errno != 0 {
		return errno
	}
	end := int64(off + size)
	if mode&keepSize != 0 || end <= h.size() {
		return 0
	}
	return h.resize(end)
}

// Fsync keeps what was written before it began, once it ends.
func (h *handle) Fsync(ctx context.Context, _ uint32) syscall.Errno {
	mark := h.c.mark()
	if errno := h.f.gate.wait(ctx); errno != 0 {
		return errno
	}
	if errno := h.f.gate.fails(syncs); errno != 0 {
		h.c.failed()
		return errno
	}
	h.c.synced(mark)
	return 0
}

// Flush is a close; it keeps nothing.
func (h *handle) Flush(context.Context) syscall.Errno { return 0 }

func (h *handle) Release(context.Context) syscall.Errno { return toErrno(h.file.Close()) }

func (h *handle) Getattr(_ context.Context, out *fuse.AttrOut) syscall.Errno {
	var st syscall.Stat_t
	if err := syscall.Fstat(int(h.file.Fd()), &st); err != nil {
		return toErrno(err)
	}
	out.FromStat(&st)
	return 0
}
