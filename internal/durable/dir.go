// Package durable makes files and directories outlive a power cut: the
// name of a file or directory is kept only once the directory that it stands in
// was synced. Syncing the file itself is not enough.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// SyncDir keeps the names in a directory as they are.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// MakeDir makes a directory that only this user reads, and those above it that are
// missing. Its name is durable when it returns, and so are those in it: who made
// what is there already may have been killed before he synced it.
func MakeDir(dir string) error {
	dir, parent := filepath.Clean(dir), filepath.Dir(filepath.Clean(dir))
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := MakeDir(parent); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	existed := errors.Is(err, fs.ErrExist)
	if existed {
		var info fs.FileInfo
		if info, err = os.Stat(dir); err == nil && !info.IsDir() {
			err = &fs.PathError{Op: "mkdir", Path: dir, Err: fs.ErrExist}
		}
	}
	if err != nil {
		return err
	}
	err = SyncDir(parent)
	if !existed {
		return err
	}
	if errors.Is(err, fs.ErrPermission) {
		err = nil // somebody else's, who made it
	}
	return errors.Join(err, SyncDir(dir))
}
