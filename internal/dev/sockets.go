package dev

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// maxSocketName is what the kernel leaves for a unix socket's name.
const maxSocketName = 107

// socketPath is where a socket of the directory lies: in it, or where that name
// would be too long in a directory of this user's under the system's temporary
// one, whose name follows from the directory's.
func socketPath(dir, name string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if path := filepath.Join(dir, name); len(path) <= maxSocketName {
		return path, nil
	}
	sum := sha256.Sum256([]byte(dir))
	short := filepath.Join(os.TempDir(), fmt.Sprintf("hexrd-%d-%s", os.Getuid(), hex.EncodeToString(sum[:6])))
	if err := os.Mkdir(short, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("make a directory for sockets: %w", err)
	}
	if err := private(short); err != nil {
		return "", err
	}
	path := filepath.Join(short, name)
	if len(path) > maxSocketName {
		return "", fmt.Errorf("the socket's name %s is longer than %d bytes: set TMPDIR to a shorter path", path, maxSocketName)
	}
	return path, nil
}

// private checks that a directory is this user's alone.
func private(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || info.Mode().Perm() != 0o700 || int(st.Uid) != os.Getuid() {
		return fmt.Errorf("%s is not a directory of this user alone: remove it", dir)
	}
	return nil
}
