package durable_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/hexrdev/hexrd/internal/durable"
)

// A file goes, whatever its size; one that has another name stays whole under that.
func TestRemove(t *testing.T) {
	top := t.TempDir()
	for _, size := range []int{0, 1, 4 << 20, 9<<20 + 1} {
		dir, kept := filepath.Join(top, "dir"), filepath.Join(top, "kept")
		if err := os.MkdirAll(filepath.Join(dir, "in", "it"), 0o700); err != nil {
			t.Fatal(err)
		}
		content := bytes.Repeat([]byte("x"), size)
		single, linked := filepath.Join(dir, "single"), filepath.Join(dir, "in", "linked")
		for _, name := range []string{single, filepath.Join(dir, "in", "another"), linked} {
			if err := os.WriteFile(name, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Link(linked, kept); err != nil {
			t.Fatal(err)
		}
		if err := durable.Remove(single); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(single); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("it is still there: %v", err)
		}
		if err := durable.RemoveAll(dir); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the directory is still there: %v", err)
		}
		if got, err := os.ReadFile(kept); err != nil || !bytes.Equal(got, content) {
			t.Errorf("the other name has %d bytes of %d: %v", len(got), size, err)
		}
		if err := os.Remove(kept); err != nil {
			t.Fatal(err)
		}
	}
	if err := durable.Remove(filepath.Join(top, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := durable.RemoveAll(filepath.Join(top, "missing")); err != nil {
		t.Error(err)
	}
}

// What a link in a directory leads to is not touched.
func TestRemoveFollowsNoLinks(t *testing.T) {
	top := t.TempDir()
	file, dir := filepath.Join(top, "file"), filepath.Join(top, "dir")
	if err := errors.Join(os.WriteFile(file, make([]byte, 9<<20), 0o600), os.Mkdir(dir, 0o700), os.Symlink(file, filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	if err := durable.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Size() != 9<<20 {
		t.Errorf("%v, %v", info, err)
	}
}
