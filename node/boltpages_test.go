package node

import (
	"os"
	"testing"
)

// FuzzBoltPages: whatever pages lie in a file, they are walked to an end.
func FuzzBoltPages(f *testing.F) {
	_, _, good := storedStable(f)
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
