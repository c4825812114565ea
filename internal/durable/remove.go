package durable

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// removeStep is how much of a file is given back at a time.
const removeStep = 4 << 20

// Remove removes a file that nobody reads any more. A large one that has no other
// name is shortened in steps before: to give back 64 MiB at once holds up the file
// system's journal for some 20 ms (ext4), and with it every sync of every log on it.
// A crash may leave a part of it.
func Remove(name string) error {
	info, err := os.Lstat(name)
	if err == nil && info.Mode().IsRegular() && names(info) == 1 {
		for size := info.Size() - removeStep; size > 0; size -= removeStep {
			if os.Truncate(name, size) != nil {
				break // what counts is that it goes
			}
		}
	}
	return os.Remove(name)
}

// RemoveAll removes a directory with all that is in it, as Remove does; none is no
// error.
func RemoveAll(dir string) error {
	// What it can't remove is for os to report.
	_ = filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			_ = Remove(name)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// names counts the hard links of a file.
func names(info fs.FileInfo) uint64 {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return uint64(stat.Nlink) //nolint:unconvert // 32 bits on arm64
}
