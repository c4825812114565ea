package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/internal/dev"
)

// TestFullDisk fills the disks of real processes to the last byte while they are
// written to: first a follower's, then all. A node without room ends by itself and
// says why; nothing acknowledged is lost; with room it starts again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, store := range logStores() {
		t.Run(store, func(t *testing.T) { fullDisk(t, store) })
	}
}

func fullDisk(t *testing.T, store string) {
	dir := t.TempDir()
	disks := map[string]string{}
	for _, id := range []string{"n1", "n2", "n3"} {
		disks[id] = filepath.Join(dir, "nodes", id, "data")
		if err := os.MkdirAll(disks[id], 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", disks[id], "tmpfs", 0, "size=96m"); err != nil {
			t.Skipf("a small file system is needed, and only root may mount one: %v", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(disks[id], unix.MNT_DETACH) })
	}
	c, err := dev.Start(t.Context(), dev.Config{Dir: dir, LogStore: store, Program: binary(t), Ports: ports})
	if err != nil {
		logs(t, dir)
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			logs(t, dir)
		}
	})
	l := &acknowledged{t: t, c: dialAs(t, c, "acme/bot", c.Addresses()...), values: map[string]string{}}

	follower := ""
	until(t, "a leader and its followers", func() bool {
		for _, n := range c.Nodes(t.Context()) {
			if n.Role == "follower" {
				follower = n.ID
			}
		}
		return follower != ""
	})
	stop := l.write()
	fill(t, disks[follower])
	ended(t, c, follower, disks[follower])
	before := l.count.Load()
	until(t, "puts beside the full disk", func() bool { return l.count.Load() > before+20 })
	empty(t, disks[follower])
	if _, err := c.StartNode(t.Context(), follower); err != nil {
		t.Fatal(err)
	}
	for id := range disks {
		fill(t, disks[id])
	}
	until(t, "puts to end", func() bool { // refused, or without a quorum: the last node may have nothing to write
		put, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := l.c.Put(put, "probe", []byte("v"), client.PutOptions{})
		return err != nil
	})
	stop()
	for _, n := range c.Nodes(t.Context()) {
		if n.State != "running" {
			saysWhy(t, n)
		}
	}
	for id := range disks {
		empty(t, disks[id])
	}
	through := map[string]*client.Client{}
	for _, n := range c.Nodes(t.Context()) {
		through[n.ID] = dialAs(t, c, "acme/probe-"+n.ID, n.Address)
	}
	until(t, "all nodes to be back", func() bool { return back(t, c, through) })
	until(t, "the nodes to see that there is room", func() bool {
		_, err := l.c.Get(t.Context(), "probe")
		return !errors.Is(err, client.ErrThrottled)
	})
	l.check()
	auditor := dialAs(t, c, "/hexr/auditor/ben", c.Addresses()...)
	until(t, "all nodes to give the same root", func() bool { // one may still be catching up, or have been about to end
		v := &verification{}
		return back(t, c, through) && v.run(t.Context(), auditor) == nil && len(v.agree) == len(disks)
	})
}

// back starts the nodes that have ended, and says whether all answer. One that only
// runs may be ending, of a write on the full disk.
func back(t *testing.T, c *dev.Cluster, through map[string]*client.Client) bool {
	t.Helper()
	all := true
	var starts sync.WaitGroup // two make the quorum that each waits for
	for _, n := range c.Nodes(t.Context()) {
		if n.State != "running" {
			all = false
			starts.Go(func() { _, _ = c.StartNode(t.Context(), n.ID) })
		}
	}
	starts.Wait()
	for _, cl := range through {
		if !all {
			return false
		}
		ctx, cancel := withTimeout(t, 5*time.Second)
		_, err := cl.Put(ctx, "probe", []byte("v"), client.PutOptions{})
		cancel()
		all = err == nil
	}
	return all
}

// fill takes all room there is, also what becomes free while a node dies.
func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "ballast"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for _, size := range []int{1 << 20, 1 << 12} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
	}
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
		t.Fatal(err)
	}
}

// ended waits until a node has ended by itself, and looks at what it says.
func ended(t *testing.T, c *dev.Cluster, id, disk string) {
	t.Helper()
	var node dev.NodeInfo
	until(t, id+" to end", func() bool {
		fill(t, disk)
		for _, n := range c.Nodes(t.Context()) {
			if n.ID == id {
				node = n
			}
		}
		return node.State != "running"
	})
	saysWhy(t, node)
}

// saysWhy: the node ended in good order for want of space.
func saysWhy(t *testing.T, n dev.NodeInfo) {
	t.Helper()
	said, err := os.ReadFile(n.LogFile)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(said), "no space left on device") || strings.Contains(string(said), "goroutine ") {
		t.Errorf("%s did not end in good order for want of space: %s", n.ID, said[max(0, len(said)-3000):])
	}
}

// acknowledged writes, and remembers what was acknowledged.
type acknowledged struct {
	t      *testing.T
	c      *client.Client
	count  atomic.Int64
	mu     sync.Mutex
	values map[string]string
}

// write puts until it is stopped. A put that is refused or in doubt is not counted.
func (a *acknowledged) write() (stop func()) {
	ctx, cancel := context.WithCancel(a.t.Context())
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				path, value := fmt.Sprintf("w%d/%d", w, n%50), strings.Repeat("v", 2000)+fmt.Sprint(n)
				put, end := context.WithTimeout(ctx, 3*time.Second)
				_, err := a.c.Put(put, path, []byte(value), client.PutOptions{})
				end()
				a.mu.Lock()
				if err == nil {
					a.values[path] = value
					a.count.Add(1)
				} else if errors.Is(err, client.ErrThrottled) { // certainly not applied
				} else {
					a.values[path] = "" // in doubt
				}
				a.mu.Unlock()
			}
		})
	}
	return func() { cancel(); writers.Wait() }
}

func (a *acknowledged) check() {
	a.t.Helper()
	held := 0
	for path, want := range a.values {
		if want == "" {
			continue
		}
		held++
		if got, err := a.c.Get(a.t.Context(), path); err != nil || got.Text() != want {
			a.t.Errorf("what was acknowledged last at a path is not there: %v", err)
		}
	}
	a.t.Logf("%d puts were acknowledged, %d paths compared", a.count.Load(), held)
}
