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

func TestWriteFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file+".new", []byte("half of a longer one"), 0o600); err != nil { // killed in the midst of it
		t.Fatal(err)
	}
	for _, want := range []string{"one", "another"} {
		if err := durable.WriteFile(file, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%q, %v", got, err)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info, err)
	}
	if err := durable.WriteFile(filepath.Join(file, "no", "directory"), nil); err == nil {
		t.Error("written into a file")
	}
}
