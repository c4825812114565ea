package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/internal/dev"
)

// disks are the directories of a dev cluster's nodes.
type disks struct {
	t   *testing.T
	c   *dev.Cluster
	dir string
}

func (d disks) data(id string) string    { return filepath.Join(d.dir, "nodes", id, "data") }
func (d disks) wrapper(id string) string { return filepath.Join(d.dir, "nodes", id, "wrapper.key") }

func (d disks) kill(ids ...string) {
	d.t.Helper()
	for _, id := range ids {
		if _, err := d.c.Signal(d.t.Context(), id, "KILL"); err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d disks) running(id string) bool {
	for _, n := range d.c.Nodes(d.t.Context()) {
		if n.ID == id {
			return n.State != "exited"
		}
	}
	return false
}

// backup copies a node's data directory, and returns where to.
func (d disks) backup(id string) string {
	d.t.Helper()
	to := filepath.Join(d.t.TempDir(), id)
	if err := os.CopyFS(to, os.DirFS(d.data(id))); err != nil {
		d.t.Fatal(err)
	}
	return to
}

// replace puts other content into a node's data directory; empty: none.
func (d disks) replace(id, from string) {
	d.t.Helper()
	if err := os.RemoveAll(d.data(id)); err != nil {
		d.t.Fatal(err)
	}
	if err := os.MkdirAll(d.data(id), 0o700); err != nil || from == "" {
		return
	}
	if err := os.CopyFS(d.data(id), os.DirFS(from)); err != nil {
		d.t.Fatal(err)
	}
}

// said is what a node logged since it was asked last.
func (d disks) said(id string) func() string {
	file := filepath.Join(d.dir, "nodes", id, "node.log")
	before, _ := os.ReadFile(file)
	return func() string {
		after, _ := os.ReadFile(file)
		return string(bytes.TrimPrefix(after, before))
	}
}

// refuses starts a node, which must end and say why.
func (d disks) refuses(id string, why ...string) {
	d.t.Helper()
	said := d.said(id)
	if _, err := d.c.StartNode(d.t.Context(), id); err == nil {
		d.t.Errorf("%s took part", id)
		return
	}
	for _, w := range why {
		if !strings.Contains(said(), w) {
			d.t.Errorf("%s does not say %q:\n%s", id, w, said())
		}
	}
	if strings.Contains(said(), "goroutine ") {
		d.t.Errorf("%s panicked:\n%s", id, said())
	}
}

// TestDisksOfAnotherTime: a voter whose directory is an older copy, was emptied,
// or is another node's does not take part, and says how to come back; the others
// go on. With a majority rolled back, the one that remembers keeps them out.
func TestDisksOfAnotherTime(t *testing.T) {
	t.Parallel()
	c, dir := startCluster(t, "bolt")
	d := disks{t, c, dir}
	addrs := c.Addresses()
	third, all := dialAs(t, c, "acme/bot", addrs[2]), dialAs(t, c, "acme/bot", addrs...)
	put := func(cl *client.Client, n int) {
		t.Helper()
		for i := range n {
			if _, err := cl.Put(t.Context(), "k"+strconv.Itoa(i), []byte("v"), client.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(third, 5)
	d.kill("n1", "n2", "n3")
	old := map[string]string{}
	for _, id := range []string{"n1", "n2", "n3"} {
		old[id] = d.backup(id)
	}
	wrapper, err := os.ReadFile(d.wrapper("n3"))
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 2) // they wait for each other
	for _, id := range []string{"n1", "n2"} {
		go func() { _, err := c.StartNode(t.Context(), id); started <- err }()
	}
	for range 2 {
		if err := <-started; err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.StartNode(t.Context(), "n3"); err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		put(dialAs(t, c, "acme/bot", a), 5)
	}
	d.kill("n3")
	now := d.backup("n3")

	d.replace("n3", old["n3"])
	d.refuses("n3", "older than what the cluster knows", "members remove")
	put(all, 2)
	d.replace("n3", "")
	d.refuses("n3", "holds no node", "hexrd join")
	put(all, 2)

	other, err := os.ReadFile(d.wrapper("n2"))
	if err != nil {
		t.Fatal(err)
	}
	d.kill("n2")
	d.replace("n3", d.data("n2"))
	if err := os.WriteFile(d.wrapper("n3"), other, 0o600); err != nil { // with the key that opens it
		t.Fatal(err)
	}
	d.refuses("n3", "is this node's data directory here")
	if err := os.WriteFile(d.wrapper("n3"), wrapper, 0o600); err != nil {
		t.Fatal(err)
	}
	d.replace("n3", now)
	go func() { _, err := c.StartNode(t.Context(), "n2"); started <- err }()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	if _, err := c.StartNode(t.Context(), "n3"); err != nil {
		t.Fatalf("its own directory: %v", err)
	}
	put(third, 2)

	d.kill("n1", "n2")
	d.replace("n1", old["n1"])
	d.replace("n2", old["n2"])
	d.refuses("n1", "older than what the cluster knows")
	d.refuses("n2", "older than what the cluster knows")
}
