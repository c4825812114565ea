package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// WriteFile makes or replaces a file, 0600: whole or not at all, and durable before
// it returns. One goroutine writes a file.
func WriteFile(name string, data []byte) error {
	made := name + ".new"
	f, err := os.OpenFile(made, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(made, name); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(name))
}
