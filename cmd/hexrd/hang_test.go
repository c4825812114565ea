package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/internal/dev"
)

// fileSystem mounts a file system of its own at dir, for as long as the test runs.
func fileSystem(t *testing.T, dir, size string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a file system")
	}
	for _, tool := range []string{"mkfs.ext4", "mount", "umount", "fsfreeze"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	image := filepath.Join(t.TempDir(), "image")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	shell(t, "truncate", "-s", size, image)
	shell(t, "mkfs.ext4", "-q", image)
	if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		t.Skipf("a file system can't be mounted here: %s", out)
	}
	t.Cleanup(func() {
		_ = exec.Command("fsfreeze", "-u", dir).Run()
		shell(t, "umount", dir)
	})
}

func shell(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

// TestHangingDisk: the disk of the node that leads hangs (hashicorp/raft#503). The
// others go on within seconds of its giving up, it says why it ends, and with the
// disk back a plain start is all that it needs.
func TestHangingDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "nodes", "n1", "data")
	fileSystem(t, data, "256M")
	c, _ := startWith(t, dev.Config{Dir: dir})
	d := disks{t, c, dir}
	bot := dialAs(t, c, "acme/bot", c.Addresses()...)
	operator := dialAs(t, c, "/hexr/operator/test", c.Addresses()...)
	put := func() {
		t.Helper()
		if _, err := bot.Put(t.Context(), "k", []byte("v"), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	leads := func() string {
		members, err := operator.Members(t.Context())
		if err != nil {
			return ""
		}
		return members.GetLeader()
	}
	until(t, "n1 to lead", func() bool {
		_, _ = operator.TransferLeadership(t.Context(), "n1")
		return leads() == "n1"
	})
	put()
	said := d.said("n1")
	shell(t, "fsfreeze", "-f", data)
	begin := time.Now()
	put() // through whoever leads by then
	t.Logf("the first put was acknowledged %s after the disk began to hang", time.Since(begin).Round(time.Millisecond))
	until(t, "another leader", func() bool { id := leads(); return id != "" && id != "n1" })
	until(t, "n1 to say why", func() bool { return strings.Contains(said(), "disk failed or hangs") })
	put()
	shell(t, "fsfreeze", "-u", data)
	until(t, "n1 to end", func() bool { return !d.running("n1") })
	if strings.Contains(said(), "goroutine ") {
		t.Errorf("n1 panicked:\n%s", said())
	}
	if _, err := c.StartNode(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	put()
}
