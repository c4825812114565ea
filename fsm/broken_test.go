package fsm

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFullDisk: a store that can't write says so once, and neither Flush nor Close
// waits for room. With room again it goes on from what was durable.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("a small file system is needed, and only root may mount one: %v", err)
	}
	defer func() { _ = unix.Unmount(disk, unix.MNT_DETACH) }()
	b := newBench(t)
	failed := make(chan error, 2)
	cfg := Config{Dir: filepath.Join(disk, "store"), Keys: b.keys, Failed: func(err error) { failed <- err }}
	open := func() {
		t.Helper()
		_ = b.store.Close()
		s, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		b.store = s
	}
	open()
	if err := b.store.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(disk, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1 << 16, 1 << 12} { // until nothing more fits
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	_ = f.Close()
	b.do() // an entry without accesses
	if err := b.store.Flush(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("flush on a full disk: %v", err)
	}
	if err := b.store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, syscall.ENOSPC) || len(failed) > 0 {
		t.Fatalf("the store failed with %v, and %d more", err, len(failed))
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	open()
	if got := b.store.AppliedIndex(); got != 0 {
		t.Fatalf("index %d is there, and was never durable", got)
	}
	b.index = 0
	b.do()
	if err := b.store.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}
