package lazyfs

import (
	"context"
	"os"
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// node is a file or directory as the kernel sees it: the one below, and an eye
// on what changes.
type node struct {
	*fs.LoopbackNode
	f *filesystem
}

func (n *node) WrapChild(_ context.Context, ops fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{ops.(*fs.LoopbackNode), n.f}
}

func toErrno(err error) syscall.Errno { return fs.ToErrno(err) }

func (n *node) path() string { return filepath.Join(n.RootData.Path, n.Path(n.Root())) }

func (n *node) child(name string) string { return filepath.Join(n.path(), name) }

func (n *node) slot(name string) slot { return slot{n.StableAttr().Ino, name} }

// added runs a call that makes a name.
func (n *node) added(name string, call func() syscall.Errno) syscall.Errno {
	if errno := n.f.gate.take(0); errno != 0 {
		return errno
	}
	n.f.names.mu.Lock()
	defer n.f.names.mu.Unlock()
	if errno := call(); errno != 0 {
		return errno
	}
	return n.f.names.record(map[uint64]string{n.StableAttr().Ino: n.path()}, rebinding{slot: n.slot(name)})
}

func (n *node) Mknod(ctx context.Context, name string, mode, rdev uint32, out *fuse.EntryOut) (i *fs.Inode, errno syscall.Errno) {
	errno = n.added(name, func() (errno syscall.Errno) {
		i, errno = n.LoopbackNode.Mknod(ctx, name, mode, rdev, out)
		return errno
	})
	return i, errno
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (i *fs.Inode, errno syscall.Errno) {
	errno = n.added(name, func() (errno syscall.Errno) {
		i, errno = n.LoopbackNode.Mkdir(ctx, name, mode, out)
		return errno
	})
	return i, errno
}

func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (i *fs.Inode, errno syscall.Errno) {
	errno = n.added(name, func() (errno syscall.Errno) {
		i, errno = n.LoopbackNode.Symlink(ctx, target, name, out)
		return errno
	})
	return i, errno
}

func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (i *fs.Inode, errno syscall.Errno) {
	other, ok := target.(*node)
	if !ok {
		return nil, syscall.EXDEV
	}
	errno = n.added(name, func() (errno syscall.Errno) {
		i, errno = n.LoopbackNode.Link(ctx, other.LoopbackNode, name, out)
		return errno
	})
	return i, errno
}

// Create makes a file, or opens one that somebody else has just made.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (
	i *fs.Inode, h fs.FileHandle, _ uint32, errno syscall.Errno,
) {
	var made fs.FileHandle
	errno = n.added(name, func() (errno syscall.Errno) {
		rw := flags&^syscall.O_ACCMODE | syscall.O_RDWR | syscall.O_EXCL
		i, made, _, errno = n.LoopbackNode.Create(ctx, name, rw, mode, out)
		return errno
	})
	if errno != 0 {
		if errno == syscall.EEXIST && flags&syscall.O_EXCL == 0 {
			errno = syscall.ESTALE // the kernel looks again, and opens it
		}
		return nil, nil, 0, errno
	}
	if r, ok := made.(fs.FileReleaser); ok {
		_ = r.Release(ctx)
	}
	h, errno = n.f.open(n.child(name), flags)
	return i, h, 0, errno
}

func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	h, errno := n.f.open(n.path(), flags)
	return h, 0, errno
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	return n.removed(name, func(was object) syscall.Errno {
		if errno := n.f.names.hold(was, n.child(name)); errno != 0 {
			return errno
		}
		return n.LoopbackNode.Unlink(ctx, name)
	})
}

func (n *node) Rmdir(_ context.Context, name string) syscall.Errno {
	return n.removed(name, func(was object) syscall.Errno { return n.f.names.put(was, n.child(name)) })
}

func (n *node) removed(name string, call func(was object) syscall.Errno) syscall.Errno {
	n.f.names.mu.Lock()
	defer n.f.names.mu.Unlock()
	was, errno := look(n.child(name))
	if errno != 0 {
		return errno
	}
	if errno := call(was); errno != 0 {
		return errno
	}
	return n.f.names.record(map[uint64]string{n.StableAttr().Ino: n.path()}, rebinding{n.slot(name), was})
}

// Rename takes none of the flags of renameat2.
func (n *node) Rename(ctx context.Context, name string, newParent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	to, ok := newParent.(*node)
	if !ok {
		return syscall.EXDEV
	}
	if flags != 0 {
		return syscall.EINVAL
	}
	n.f.names.mu.Lock()
	defer n.f.names.mu.Unlock()
	moved, errno := look(n.child(name))
	if errno != 0 {
		return errno
	}
	replaced, errno := look(to.child(newName))
	if errno != 0 && errno != syscall.ENOENT {
		return errno
	}
	if moved == replaced {
		return 0
	}
	if errno := n.f.names.hold(moved, n.child(name)); errno != 0 {
		return errno
	}
	if errno := n.f.names.hold(replaced, to.child(newName)); errno != 0 {
		return errno
	}
	if replaced.dir && moved.dir {
		if errno := n.f.names.put(replaced, to.child(newName)); errno != 0 {
			return errno
		}
	}
	if errno := n.LoopbackNode.Rename(ctx, name, to.LoopbackNode, newName, 0); errno != 0 {
		return errno
	}
	dirs := map[uint64]string{n.StableAttr().Ino: n.path(), to.StableAttr().Ino: to.path()}
	return n.f.names.record(dirs, rebinding{n.slot(name), moved}, rebinding{to.slot(newName), replaced})
}

// Setattr watches the size, and leaves the rest to the file below.
func (n *node) Setattr(ctx context.Context, h fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		open, isFile := h.(*handle)
		if !isFile || !open.writes {
			var errno syscall.Errno
			if open, errno = n.f.open(n.path(), syscall.O_RDWR); errno != 0 {
				return errno
			}
			defer func() { _ = open.Release(ctx) }()
		}
		if errno := open.resize(int64(size)); errno != 0 {
			return errno
		}
		in.Valid &^= fuse.FATTR_SIZE
		if in.Valid&^uint32(fuse.FATTR_FH|fuse.FATTR_LOCKOWNER|fuse.FATTR_KILL_SUIDGID) == 0 {
			return open.Getattr(ctx, out)
		}
	}
	return n.LoopbackNode.Setattr(ctx, nil, in, out)
}

// CopyFileRange is left to the kernel, which reads and writes.
func (n *node) CopyFileRange(context.Context, fs.FileHandle, uint64, *fs.Inode, fs.FileHandle, uint64, uint64, uint64) (uint32, syscall.Errno) {
	return 0, syscall.EOPNOTSUPP
}

// Statfs shows the room there is.
func (n *node) Statfs(ctx context.Context, out *fuse.StatfsOut) syscall.Errno {
	errno := n.LoopbackNode.Statfs(ctx, out)
	if free, ok := n.f.gate.free(); ok && errno == 0 {
		out.Bfree = uint64(max(free, 0)) / uint64(out.Bsize)
		out.Bavail = out.Bfree
	}
	return errno
}

// OpendirHandle opens a directory, to be listed or synced.
func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	fd, err := unix.Open(n.path(), unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, toErrno(err)
	}
	stream, errno := fs.NewLoopbackDirStreamFd(fd)
	list, ok := stream.(listing)
	if errno != 0 || !ok {
		_ = os.NewFile(uintptr(fd), "").Close()
		return nil, 0, syscall.EIO
	}
	return &directory{list, n.f, n.StableAttr().Ino}, 0, 0
}

type listing interface {
	fs.FileReaddirenter
	fs.FileSeekdirer
	fs.FileReleasedirer
}

// directory is an open one.
type directory struct {
	listing
	f   *filesystem
	ino uint64
}

// Fsyncdir keeps the directory's names.
func (d *directory) Fsyncdir(ctx context.Context, _ uint32) syscall.Errno {
	if errno := d.f.gate.wait(ctx); errno != 0 {
		return errno
	}
	if errno := d.f.gate.fails(syncs); errno != 0 {
		return errno
	}
	d.f.names.synced(d.ino)
	return 0
}
