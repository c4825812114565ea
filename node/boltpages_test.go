package node

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzBoltPages: whatever pages lie in a file, they are walked to an end.
func FuzzBoltPages(f *testing.F) {
	dir := f.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, raftDir), 0o700); err != nil {
		f.Fatal(err)
	}
	s, err := openStable(dir)
	if err != nil {
		f.Fatal(err)
	}
	for _, key := range stableKeys {
		err = errors.Join(err, s.Set(key, make([]byte, 60)))
	}
	if err := errors.Join(err, s.Close()); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(dir, raftDir, "stable.db"))
	if err != nil {
		f.Fatal(err)
	}
	size := os.Getpagesize()
	f.Add(good, good[boltHeader:boltHeader+boltMetaSize])
	f.Add(good, good[size+boltHeader:size+boltHeader+boltMetaSize])
	f.Fuzz(func(t *testing.T, pages, meta []byte) {
		if len(meta) != boltMetaSize {
			return
		}
		file, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		if _, err := file.Write(pages); err != nil {
			t.Fatal(err)
		}
		_ = checkBoltPages(file, meta)
	})
}
