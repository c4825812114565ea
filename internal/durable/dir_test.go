package durable_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hexrdev/hexrd/internal/durable"
)

func TestMakeDir(t *testing.T) {
	top := t.TempDir()
	for range 2 {
		if err := durable.MakeDir(filepath.Join(top, "a", "b", "c")); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(top, "a", "b"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v: %v", info, err)
	}
	file := filepath.Join(top, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "dir")} {
		if durable.MakeDir(dir) == nil {
			t.Errorf("%s is no directory", dir)
		}
	}
	if durable.SyncDir(filepath.Join(top, "missing")) == nil {
		t.Error("a directory that is not there was synced")
	}
	t.Chdir(top)
	if err := durable.MakeDir("relative"); err != nil {
		t.Error(err)
	}
}
