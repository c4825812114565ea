package lazyfs_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hexrdev/hexrd/jepsen/lazyfs"
)

func TestMain(m *testing.M) {
	lazyfs.Main()
	if os.Getenv(asWriter) != "" {
		if err := writeUntilKilled(os.Getenv(asWriter)); err != nil {
			panic(err)
		}
	}
	if os.Getenv(asOwner) != "" {
		if err := mountUntilKilled(os.Getenv(asOwner)); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// disk is a mounted Disk, and what a test does on it.
type disk struct {
	*lazyfs.Disk
	t   testing.TB
	dir string
}

func mount(t testing.TB, seed uint64) disk {
	t.Helper()
	if err := lazyfs.Available(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	at := filepath.Join(dir, "mount")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := lazyfs.Mount(t.Context(), lazyfs.Config{Dir: at, Backing: filepath.Join(dir, "backing"), Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if mounted(t, at) {
			t.Errorf("%s is mounted still", at)
		}
	})
	return disk{d, t, at}
}

func mounted(t testing.TB, dir string) bool {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(mounts), " "+dir+" ")
}

func (d disk) path(name string) string { return filepath.Join(d.dir, name) }

func (d disk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// write makes a file; sync also syncs it, and its directory.
func (d disk) write(name, data string, sync bool) {
	d.t.Helper()
	f, err := os.OpenFile(d.path(name), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	d.must(err)
	_, err = f.WriteString(data)
	d.must(err)
	if sync {
		d.must(f.Sync())
		d.syncDir(filepath.Dir(name))
	}
	d.must(f.Close())
}

func (d disk) syncDir(name string) {
	d.t.Helper()
	f, err := os.Open(d.path(name))
	d.must(err)
	d.must(errors.Join(f.Sync(), f.Close()))
}

func (d disk) cut(tear bool) lazyfs.Lost {
	d.t.Helper()
	lost, err := d.Cut(tear)
	d.must(err)
	return lost
}

// holds checks what a file holds; "-": it is not there.
func (d disk) holds(name, want string) {
	d.t.Helper()
	data, err := os.ReadFile(d.path(name))
	got := string(data)
	if errors.Is(err, os.ErrNotExist) {
		got, err = "-", nil
	}
	if err != nil || got != want {
		d.t.Errorf("%s holds %.40q, not %.40q: %v", name, got, want, err)
	}
}

func TestWhatIsNotSyncedIsForgotten(t *testing.T) {
	d := mount(t, 1)
	d.write("kept", "synced", true)
	d.write("over", "old content", true)
	d.write("grown", "short", true)
	f, err := os.OpenFile(d.path("over"), os.O_RDWR, 0)
	d.must(err)
	_, err = f.WriteAt([]byte("new"), 0)
	d.must(err)
	d.must(f.Close()) // syncs nothing
	f, err = os.OpenFile(d.path("grown"), os.O_WRONLY|os.O_APPEND, 0)
	d.must(err)
	_, err = f.WriteString(strings.Repeat("x", 10_000))
	d.must(err)
	d.must(f.Close())
	d.must(os.Truncate(d.path("kept"), 2))
	d.holds("over", "new content")
	d.holds("kept", "sy")
	lost := d.cut(false)
	d.holds("over", "old content")
	d.holds("kept", "synced")
	d.holds("grown", "short")
	if lost.Files != 2 || lost.Bytes != 10_003 {
		t.Errorf("it says that it lost %+v", lost)
	}
	f, err = os.OpenFile(d.path("over"), os.O_RDWR, 0)
	d.must(err)
	_, err = f.WriteAt([]byte("new"), 0)
	d.must(err)
	d.must(syscall.Fdatasync(int(f.Fd())))
	_, err = f.WriteAt([]byte("NEW"), 0)
	d.must(err)
	d.must(f.Close())
	d.cut(false)
	d.holds("over", "new content")
}

func TestNamesAreTheDirectorys(t *testing.T) {
	d := mount(t, 1)
	for _, name := range []string{"removed", "renamed", "replaced", "moved"} {
		d.write(name, name, true)
	}
	d.must(os.Mkdir(d.path("dir"), 0o700))
	d.syncDir(".")
	d.write("dir/inner", "inner", true)

	f, err := os.Create(d.path("new")) // its content is synced, its name is not
	d.must(err)
	_, err = f.WriteString("new")
	d.must(errors.Join(err, f.Sync(), f.Close()))
	d.must(os.Remove(d.path("removed")))
	d.must(os.Rename(d.path("renamed"), d.path("replaced")))
	d.must(os.Rename(d.path("moved"), d.path("dir/moved")))
	d.must(os.Link(d.path("dir/inner"), d.path("link")))
	d.must(os.Mkdir(d.path("made"), 0o700))
	d.write("made/file", "file", true)
	d.must(os.Symlink("removed", d.path("symlink")))
	lost := d.cut(false)
	for _, gone := range []string{"new", "link", "made/file", "dir/moved", "symlink"} {
		d.holds(gone, "-")
	}
	for _, there := range []string{"removed", "renamed", "replaced", "moved"} {
		d.holds(there, there)
	}
	if lost.Names == 0 {
		t.Errorf("it says that it lost %+v", lost)
	}

	d.must(os.RemoveAll(d.path("dir"))) // and a tree comes back as a whole
	d.holds("dir/inner", "-")
	d.cut(false)
	d.holds("dir/inner", "inner")

	d.must(os.Rename(d.path("moved"), d.path("dir/moved")))
	d.syncDir("dir") // a rename is atomic: the other directory needs no sync
	d.must(os.Rename(d.path("renamed"), d.path("replaced")))
	d.must(os.Remove(d.path("removed")))
	d.syncDir(".")
	d.cut(false)
	d.holds("moved", "-")
	d.holds("dir/moved", "moved")
	d.holds("renamed", "-")
	d.holds("replaced", "renamed")
	d.holds("removed", "-")

	d.must(os.Rename(d.path("dir"), d.path("other")))
	d.cut(false)
	d.holds("dir/inner", "inner")
	d.must(os.RemoveAll(d.path("dir")))
	d.syncDir(".")
	d.cut(false)
	d.holds("dir/inner", "-")
	entries, err := os.ReadDir(d.dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v is left: %v", entries, err)
	}
}

// TestTornWrites: what survives is made of sectors, old or new; over some seeds
// every kind of it is seen.
func TestTornWrites(t *testing.T) {
	if err := lazyfs.Available(); err != nil {
		t.Skip(err)
	}
	none, all, some, disordered, named := 0, 0, 0, 0, 0
	d := mount(t, 7)
	for range 60 {
		before := strings.Repeat("o", 3*4096)
		d.write("f", before, true)
		f, err := os.OpenFile(d.path("f"), os.O_WRONLY, 0)
		d.must(err)
		for off := range int64(4) {
			_, err = f.WriteAt(bytes.Repeat([]byte("n"), 4096), off*4096)
			d.must(err)
		}
		d.must(f.Close())
		d.write("g", "", false)
		d.cut(true)
		data, err := os.ReadFile(d.path("f"))
		d.must(err)
		sectors := ""
		for len(data) > 0 {
			n := min(512, len(data))
			if n != 512 || bytes.Count(data[:n], data[:1]) != n {
				t.Fatalf("a sector is torn")
			}
			sectors, data = sectors+string(data[:1]), data[n:]
		}
		switch kept := strings.Trim(sectors, "\x00"); {
		case !strings.Contains(kept, "n"):
			none++
		case sectors == strings.Repeat("n", 32):
			all++
		case strings.Contains(kept, "on"), strings.Contains(kept, "\x00n"):
			disordered++
		default:
			some++
		}
		if _, err := os.Stat(d.path("g")); err == nil {
			named++
		}
		d.must(os.RemoveAll(d.path("g")))
		d.syncDir(".")
	}
	t.Logf("none %d, all %d, a prefix %d, out of order %d; the name %d", none, all, some, disordered, named)
	if none == 0 || some == 0 || disordered == 0 || named == 0 || named == 60 {
		t.Error("some kind was never seen")
	}
}

func TestErrors(t *testing.T) {
	d := mount(t, 1)
	d.write("f", "old", true)
	f, err := os.OpenFile(d.path("f"), os.O_RDWR, 0)
	d.must(err)
	defer func() { _ = f.Close() }()
	d.must(d.Set(lazyfs.Faults{WriteErrors: 1}))
	if _, err := f.WriteAt([]byte("new"), 0); !errors.Is(err, syscall.EIO) {
		t.Errorf("write: %v", err)
	}
	d.must(d.Set(lazyfs.Faults{ReadErrors: 1, Errno: syscall.ENODATA}))
	if _, err := os.ReadFile(d.path("f")); !errors.Is(err, syscall.ENODATA) {
		t.Errorf("read: %v", err)
	}
	d.must(d.Set(lazyfs.Faults{SyncErrors: 1}))
	_, err = f.WriteAt([]byte("new"), 0)
	d.must(err)
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync: %v", err)
	}
	if err := syscall.Fdatasync(int(f.Fd())); !errors.Is(err, syscall.EIO) {
		t.Errorf("fdatasync: %v", err)
	}
	dir, err := os.Open(d.dir)
	d.must(err)
	if err := dir.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync of a directory: %v", err)
	}
	d.must(dir.Close())
	d.must(d.Set(lazyfs.Faults{}))
	d.must(f.Sync()) // does not make up for it
	d.holds("f", "new")
	d.must(f.Close())
	d.cut(false)
	d.holds("f", "old")

	d.must(d.Set(lazyfs.Faults{WriteErrors: 0.5}))
	failed := 0
	f, err = os.OpenFile(d.path("f"), os.O_RDWR, 0)
	d.must(err)
	for range 200 {
		if _, err := f.WriteAt([]byte("x"), 0); err != nil {
			failed++
		}
	}
	if failed < 60 || failed > 140 {
		t.Errorf("%d of 200 writes failed, not about half", failed)
	}
	if d.Set(lazyfs.Faults{ReadErrors: 2}) == nil || d.Set(lazyfs.Faults{Delay: -1}) == nil {
		t.Error("faults that can't be are taken")
	}
}

func TestFull(t *testing.T) {
	d := mount(t, 1)
	d.write("f", "0123456789", true)
	for _, hidden := range []bool{false, true} {
		d.must(d.Set(lazyfs.Faults{Full: true, Room: 1 << 20, Hidden: hidden}))
		var st syscall.Statfs_t
		d.must(syscall.Statfs(d.dir, &st))
		if free := int64(st.Bavail) * st.Bsize; (free <= 1<<20) == hidden {
			t.Errorf("hidden %v: statfs shows %d bytes", hidden, free)
		}
		big, err := os.Create(d.path("big"))
		d.must(err)
		written := 0
		for err == nil {
			var n int
			n, err = big.Write(make([]byte, 64<<10))
			written += n
		}
		if !errors.Is(err, syscall.ENOSPC) || written != 1<<20 {
			t.Errorf("after %d bytes: %v", written, err)
		}
		if err := os.WriteFile(d.path("more"), nil, 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("a new name: %v", err)
		}
		f, err := os.OpenFile(d.path("f"), os.O_RDWR, 0)
		d.must(err)
		_, err = f.WriteAt([]byte("over"), 0)
		d.must(errors.Join(err, f.Sync(), f.Close(), big.Close()))
		d.must(os.Remove(d.path("big"))) // its room is there again once that is synced
		d.syncDir(".")
		d.must(os.WriteFile(d.path("more"), make([]byte, 1000), 0o600))
		d.must(os.Remove(d.path("more")))
	}
	d.must(d.Fill(true))
	if err := os.Mkdir(d.path("dir"), 0o700); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a directory: %v", err)
	}
	d.must(d.Fill(false))
	d.must(os.Mkdir(d.path("dir"), 0o700))
}

func TestSlow(t *testing.T) {
	d := mount(t, 1)
	f, err := os.Create(d.path("f"))
	d.must(err)
	defer func() { _ = f.Close() }()
	const delay = 150 * time.Millisecond
	d.must(d.Slow(delay))
	for what, call := range map[string]func() error{
		"write": func() error { _, err := f.WriteAt([]byte("x"), 0); return err }, "sync": f.Sync,
	} {
		begin := time.Now()
		d.must(call())
		if took := time.Since(begin); took < delay {
			t.Errorf("a %s took %s", what, took)
		}
	}
	d.must(d.Slow(time.Hour))
	done := make(chan error, 1)
	go func() { _, err := f.WriteAt([]byte("y"), 0); done <- err }()
	d.must(d.Slow(0)) // who waits goes on
	select {
	case err := <-done:
		d.must(err)
	case <-time.After(time.Minute):
		t.Fatal("the write hangs")
	}
	d.holds("f", "y")
}
