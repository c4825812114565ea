package lazyfs_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/hexrdev/hexrd/jepsen/lazyfs"
)

const (
	asWriter = "HEXRD_LAZYFS_TEST_WRITER" // of this directory
	asOwner  = "HEXRD_LAZYFS_TEST_OWNER"
)

// writeUntilKilled is a program that appends to a file.
func writeUntilKilled(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	for {
		if _, err := f.WriteString("line\n"); err != nil {
			return err
		}
	}
}

// mountUntilKilled is a program that mounts and does not unmount.
func mountUntilKilled(dir string) error {
	if _, err := lazyfs.Mount(context.Background(), lazyfs.Config{Dir: filepath.Join(dir, "m"), Backing: filepath.Join(dir, "b")}); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "ready"), nil, 0o600); err != nil {
		return err
	}
	select {}
}

// start runs this test's program as something else.
func start(t *testing.T, env string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick, end := time.NewTicker(5*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// TestKilledWhileWriting: a process whose write takes an hour can be killed, and
// the disk can be cut straight after.
func TestKilledWhileWriting(t *testing.T) {
	d := mount(t, 1)
	d.write("other", "x", true)
	cmd := start(t, asWriter+"="+d.dir)
	until(t, "the log", func() bool { info, err := os.Stat(d.path("log")); return err == nil && info.Size() > 0 })
	d.must(d.Slow(time.Hour))
	var size int64 = -1
	var changed time.Time
	until(t, "the writer to hang", func() bool {
		info, err := os.Stat(d.path("log"))
		before := size
		if err != nil {
			return false
		}
		if size = info.Size(); size != before {
			changed = time.Now()
		}
		return time.Since(changed) > 100*time.Millisecond
	})
	begin := time.Now()
	d.must(cmd.Process.Kill())
	_ = cmd.Wait()
	d.cut(false)
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	d.must(d.Slow(0))
	d.holds("log", "-")
	d.holds("other", "x")
}

// TestMappedFilesAreCoherent: what is written is seen in a shared mapping, and a
// database that works so does.
func TestMappedFilesAreCoherent(t *testing.T) {
	d := mount(t, 1)
	f, err := os.OpenFile(d.path("f"), os.O_CREATE|os.O_RDWR, 0o600)
	d.must(err)
	d.must(f.Truncate(64 << 10))
	m, err := unix.Mmap(int(f.Fd()), 0, 64<<10, unix.PROT_READ, unix.MAP_SHARED)
	d.must(err)
	for i := range 500 {
		want := bytes.Repeat([]byte{byte(i + 1)}, 100+i)
		off := int64(i * 97 % 60_000)
		_, err := f.WriteAt(want, off)
		d.must(err)
		if !bytes.Equal(m[off:off+int64(len(want))], want) {
			t.Fatalf("write %d is not in the mapping", i)
		}
		if i%50 == 0 { // another open must not make a difference
			other, err := os.ReadFile(d.path("f"))
			d.must(err)
			if !bytes.Equal(m, other) {
				t.Fatal("the mapping and the file differ")
			}
		}
	}
	if _, err := d.Cut(false); err == nil {
		t.Error("the power went while the file was in use")
	}
	d.must(errors.Join(unix.Munmap(m), f.Close()))

	db, err := bbolt.Open(d.path("db"), 0o600, nil)
	d.must(err)
	d.syncDir(".")
	for i := range 60 {
		d.must(db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("b"))
			if err != nil {
				return err
			}
			return b.Put([]byte{byte(i)}, bytes.Repeat([]byte{byte(i)}, 5000))
		}))
	}
	if _, err := bbolt.Open(d.path("db"), 0o600, &bbolt.Options{Timeout: 50 * time.Millisecond}); !errors.Is(err, bbolt.ErrTimeout) {
		t.Errorf("it can be opened twice: %v", err)
	}
	d.must(db.Close())
	d.cut(false)
	db, err = bbolt.Open(d.path("db"), 0o600, nil)
	d.must(err)
	d.must(db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			t.Error(err)
		}
		for i := range 60 {
			if !bytes.Equal(tx.Bucket([]byte("b")).Get([]byte{byte(i)}), bytes.Repeat([]byte{byte(i)}, 5000)) {
				t.Errorf("what was committed as %d is lost", i)
			}
		}
		return nil
	}))
	d.must(db.Close())
}

func TestAllocateAndLock(t *testing.T) {
	d := mount(t, 1)
	f, err := os.Create(d.path("f"))
	d.must(err)
	d.must(unix.Fallocate(int(f.Fd()), 0, 0, 1<<20))
	info, err := f.Stat()
	d.must(err)
	if info.Size() != 1<<20 {
		t.Errorf("its size is %d", info.Size())
	}
	d.must(f.Sync())
	d.syncDir(".")
	_, err = f.WriteAt([]byte("entry"), 4096)
	d.must(err)
	d.must(unix.Flock(int(f.Fd()), unix.LOCK_EX))
	other, err := os.Open(d.path("f"))
	d.must(err)
	if err := unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("it is locked twice: %v", err)
	}
	d.must(f.Close())
	d.must(unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	d.must(other.Close())
	d.cut(false)
	data, err := os.ReadFile(d.path("f"))
	if err != nil || !bytes.Equal(data, make([]byte, 1<<20)) {
		t.Errorf("%d bytes: %v", len(data), err)
	}
}

// TestRemovedWhileOpen: a file without a name is whole for who has it open.
func TestRemovedWhileOpen(t *testing.T) {
	d := mount(t, 1)
	d.write("f", "content", true)
	f, err := os.OpenFile(d.path("f"), os.O_RDWR, 0)
	d.must(err)
	d.must(os.Remove(d.path("f")))
	d.syncDir(".")
	_, err = f.WriteAt([]byte("C"), 0)
	d.must(err)
	data := make([]byte, 7)
	if _, err := f.ReadAt(data, 0); err != nil || string(data) != "Content" {
		t.Errorf("%q: %v", data, err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != 7 {
		t.Errorf("stat: %v", err)
	}
	d.must(errors.Join(f.Sync(), f.Close()))
	d.cut(false)
	d.holds("f", "-")
}

// TestNothingStaysMounted: not of an owner that was killed, nor of a server.
func TestNothingStaysMounted(t *testing.T) {
	if err := lazyfs.Available(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	at := filepath.Join(dir, "m")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	owner := start(t, asOwner+"="+dir)
	until(t, "the mount", func() bool { _, err := os.Stat(filepath.Join(dir, "ready")); return err == nil })
	if !mounted(t, at) {
		t.Fatal("it is not mounted: the test shows nothing")
	}
	user, err := os.Create(filepath.Join(at, "f")) // somebody uses it still
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	until(t, "the unmount", func() bool { return !mounted(t, at) })
	until(t, "errors", func() bool { _, err := user.WriteString("x"); return errors.Is(err, syscall.ENOTCONN) || err != nil })
	_ = user.Close()
}
