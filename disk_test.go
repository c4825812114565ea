package hexrd_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hexrdev/hexrd"
	"github.com/hexrdev/hexrd/client"
)

// smallDisk is a file system of its own, with a file that takes its room.
type smallDisk struct {
	t       *testing.T
	dir     string
	ballast string
}

func newSmallDisk(t *testing.T, mib int) *smallDisk {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		t.Skipf("a small file system is needed, and only root may mount one: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return &smallDisk{t, dir, filepath.Join(dir, "ballast")}
}

// leave makes the ballast as large as leaves that share free, in percent.
func (d *smallDisk) leave(percent float64) {
	d.t.Helper()
	if err := os.Remove(d.ballast); err != nil && !errors.Is(err, os.ErrNotExist) {
		d.t.Fatal(err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(d.dir, &st); err != nil {
		d.t.Fatal(err)
	}
	size := int64(st.Bavail)*st.Bsize - int64(percent/100*float64(st.Blocks)*float64(st.Bsize))
	f, err := os.Create(d.ballast)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if size > 0 {
		if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
			d.t.Fatal(err)
		}
	}
}

func isLow(err error) bool {
	var e *client.Error
	return errors.As(err, &e) && e.Reason == "DISK_LOW" && strings.Contains(e.Message, "operator")
}

// TestDiskFillsUp takes a node over its marks and back, on a real file system.
func TestDiskFillsUp(t *testing.T) {
	t.Parallel()
	disk := newSmallDisk(t, 128)
	w := newWorld(t)
	cfg := w.config()
	cfg.DataDir = filepath.Join(disk.dir, "data")
	var err error
	if w.server, err = hexrd.Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.server.Close(t.Context()) }()
	l := &limited{world: w, operator: w.client("/hexr/operator/ann"), agents: map[string]*http.Client{}}
	state := func(want string, percent float64) {
		t.Helper()
		disk.leave(percent)
		until(t, "the disk to be "+want, func() bool {
			s, err := l.operator.Status(t.Context())
			return err == nil && s.GetDisk() == want
		})
		_, metrics := l.raw("/hexr/auditor/ben", "GET", "/metrics", nil)
		if n := map[string]int{"ok": 0, "warning": 1, "low": 2, "very low": 3, "critical": 4}[want]; !strings.Contains(string(metrics), fmt.Sprintf("hexrd_disk_state %d", n)) {
			t.Errorf("the metrics do not say %d", n)
		}
	}
	l.pass(bot, "PUT", "/v1/secrets/a", ofSize(1000))
	l.pass(bot, "PUT", "/v1/secrets/b", ofSize(1000))
	l.pass(bot, "PUT", "/v1/secrets/c", ofSize(1000))
	state("warning", 8)
	l.pass(bot, "PUT", "/v1/secrets/a", ofSize(1000))
	for _, s := range []struct {
		name    string
		percent float64
	}{{"low", 4}, {"very low", 2.7}} {
		state(s.name, s.percent)
		l.refuse(507, "DISK_LOW", "operator", bot, "PUT", "/v1/secrets/a", ofSize(1))
		_, err := l.client(bot).Put(t.Context(), "a", []byte("v"), client.PutOptions{})
		if !isLow(err) {
			t.Errorf("gRPC: %v", err)
		}
		l.pass(bot, "GET", "/v1/secrets/a", nil)
		l.pass(bot, "GET", "/v1/secrets", nil)
	}
	state("critical", 1)
	for _, path := range []string{"/v1/secrets/a", "/v1/secrets", "/v1/secrets/a:versions"} {
		l.refuse(507, "DISK_LOW", "operator", bot, "GET", path, nil)
	}
	for _, r := range l.pass(bot, "POST", "/v1/secrets:batchGet", object{"paths": []string{"a", "b"}}).Results {
		if r.Error.Reason != "DISK_LOW" {
			t.Errorf("batch: %+v", r)
		}
	}
	l.pass(bot, "DELETE", "/v1/secrets/b", nil)
	l.pass(bot, "DELETE", "/v1/secrets/c?destroy=true", nil)
	l.pass("/hexr/auditor/ben", "GET", "/v1/audit", nil)
	if err := l.operator.Block(t.Context(), "agent/evil"); err != nil {
		t.Errorf("block: %v", err)
	}
	l.set("versions_kept", "5")
	state("ok", 50)
	l.pass(bot, "PUT", "/v1/secrets/a", ofSize(1000))
	if a := l.pass(bot, "GET", "/v1/secrets/a", nil); a.Version != 3 {
		t.Errorf("version %d: a put that was refused took effect", a.Version)
	}
	l.refuse(404, "NOT_FOUND", "path", bot, "GET", "/v1/secrets/b", nil)
	l.refuse(404, "NOT_FOUND", "path", bot, "GET", "/v1/secrets/c", nil)
}

// TestOneDiskIsLow: one follower's disk stops nobody; a leader's makes another
// node lead; a majority's stops puts through every node.
func TestOneDiskIsLow(t *testing.T) {
	t.Parallel()
	disks := make([]*smallDisk, 3)
	r := newTrio(t, func(i int, c *hexrd.Config) {
		disks[i] = newSmallDisk(t, 128)
		c.DataDir = filepath.Join(disks[i].dir, "data")
	})
	c := r.at(bot)
	put := func() error {
		_, err := c.Put(t.Context(), "k", []byte("v"), client.PutOptions{})
		return err
	}
	shows := func(i int, want string) {
		t.Helper()
		until(t, fmt.Sprintf("node %d to be %s", i+1, want), func() bool {
			m, err := r.op.Members(t.Context())
			if err != nil {
				return false
			}
			return m.GetMembers()[i].GetDisk() == want
		})
	}
	old := r.leader()
	disks[old].leave(4)
	shows(old, "low")
	until(t, "another node to lead", func() bool { return r.leader() != old })
	until(t, "puts to pass", func() bool { return put() == nil })
	if _, err := r.at(bot, old).Put(t.Context(), "k", []byte("v"), client.PutOptions{}); err != nil {
		t.Errorf("a put through the node whose disk is low: %v", err)
	}
	second := (old + 1) % 3
	disks[second].leave(1)
	shows(second, "critical")
	until(t, "puts to be refused", func() bool { return isLow(put()) })
	for i := range r.nodes {
		at := r.at(bot, i)
		if _, err := at.Put(t.Context(), "k", []byte("v"), client.PutOptions{}); !isLow(err) {
			t.Errorf("put at node %d: %v", i+1, err)
		}
		if _, err := at.Get(t.Context(), "k"); err != nil { // a majority has 2 %
			t.Errorf("get at node %d: %v", i+1, err)
		}
	}
	disks[old].leave(50)
	until(t, "puts to pass again", func() bool { return put() == nil })
	r.sameRoot()
}
