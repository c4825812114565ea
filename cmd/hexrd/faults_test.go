package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/internal/dev"
)

// faultyNodes is a cluster whose nodes take the variables of their faults from a file when
// they start: those of the test's own process would be every test's.
type faultyNodes struct {
	disks
	faults string
}

func startFaulty(t *testing.T, fault string, nodeArgs ...string) (*dev.Cluster, faultyNodes) {
	t.Helper()
	own := t.TempDir()
	f := faultyNodes{faults: filepath.Join(own, "faults")}
	f.t = t
	f.fault(fault)
	program := filepath.Join(own, "hexrd")
	script := fmt.Sprintf("#!/bin/sh\nexec env $(cat '%s') '%s' \"$@\"\n", f.faults, faultyBinary(t))
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	c, dir := startWith(t, dev.Config{Dir: t.TempDir(), NodeArgs: nodeArgs, Program: program})
	f.disks = disks{t, c, dir}
	return c, f
}

// fault is the variable of a node's fault, NAME=VALUE, from its next start on; empty: none.
func (f faultyNodes) fault(variable string) {
	f.t.Helper()
	if err := os.WriteFile(f.faults, []byte(variable), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// TestCrashPoints: a node dies at each step of a snapshot install, of an append,
// of an apply and of a start, and comes back by a plain start with all that was
// acknowledged.
func TestCrashPoints(t *testing.T) {
	t.Parallel()
	for name, points := range map[string][]string{
		"install": {"snapshot.written", "snapshot.renamed", "restore.copied", "restore.moved", "restore.current", "restore.loaded", "restore.restored"},
		"log":     {"start.checked", "log.sealed", "log.stored:2", "apply.decided", "apply.committed:3", "checkpoint.flushed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			crashAt(t, points)
		})
	}
}

func crashAt(t *testing.T, points []string) {
	c, d := startFaulty(t, "", "--snapshot-entries", "20", "--trailing-entries", "3", "--snapshot-interval", "100ms")
	addrs := c.Addresses()
	bot, third := dialAs(t, c, "acme/bot", addrs[:2]...), dialAs(t, c, "acme/bot", addrs[2])
	acked := 0
	put := func(n int) {
		t.Helper()
		for range n {
			acked++
			if _, err := bot.Put(t.Context(), "k"+strconv.Itoa(acked%30), []byte(strconv.Itoa(acked)), client.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(30)
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			d.t = t
			d.fault("HEXRD_FAULT_CRASH=" + point)
			until(t, "the node to come to that point", func() bool {
				d.kill("n3")
				put(60) // more than the others' logs keep, once a snapshot is made
				if _, err := c.StartNode(t.Context(), "n3"); err != nil {
					return true
				}
				for range 60 { // healthy before it came there: work brings it there
					if put(1); !d.running("n3") {
						return true
					}
				}
				return false
			})
			d.fault("")
			if _, err := c.StartNode(t.Context(), "n3"); err != nil {
				t.Fatal(err)
			}
			for i := range 30 {
				got, err := third.Get(t.Context(), "k"+strconv.Itoa((acked-i)%30))
				if err != nil || got.Text() != strconv.Itoa(acked-i) {
					t.Fatalf("what was acknowledged as %d is lost: %v", acked-i, err)
				}
			}
		})
	}
	agree(t, dialAs(t, c, "/hexr/auditor/test", addrs...))
}

// TestClockJumpsWhileLeading: the clock of the process that leads jumps ten years,
// ahead and behind. Calls go on, another node leads, and time in the log does not
// jump.
func TestClockJumpsWhileLeading(t *testing.T) {
	t.Parallel()
	clocks := t.TempDir()
	c, d := startFaulty(t, "HEXRD_FAULT_CLOCK="+filepath.Join(clocks, "all"))
	bot := dialAs(t, c, "acme/bot", c.Addresses()...)
	operator := dialAs(t, c, "/hexr/operator/test", c.Addresses()...)
	for i, off := range []string{"87600h", "-87600h"} {
		if _, err := bot.Put(t.Context(), "k", []byte("v"), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		leader := ""
		for _, n := range c.Nodes(t.Context()) {
			if n.Role == "leader" {
				leader = n.ID
			}
		}
		if leader == "" {
			t.Fatal("nobody leads")
		}
		// Only this process reads this file: it is started anew with it.
		file := filepath.Join(clocks, strconv.Itoa(i))
		d.fault("HEXRD_FAULT_CLOCK=" + file)
		if _, err := c.Signal(t.Context(), leader, "KILL"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.StartNode(t.Context(), leader); err != nil {
			t.Fatal(err)
		}
		leads := func(id string) bool {
			members, err := operator.Members(t.Context())
			return err == nil && members.GetLeader() == id
		}
		until(t, leader+" to lead again", func() bool {
			_, _ = operator.TransferLeadership(t.Context(), leader)
			return leads(leader)
		})
		if err := os.WriteFile(file, []byte(off), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if _, err := bot.Put(t.Context(), "k", []byte("v"), client.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		until(t, "another node to lead", func() bool { // a wrong one that is elected again hands on at the next entry
			if _, err := bot.Put(t.Context(), "k", []byte("v"), client.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			members, err := operator.Members(t.Context())
			return err == nil && members.GetLeader() != "" && members.GetLeader() != leader
		})
		status, err := operator.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if at := status.GetTime().AsTime(); time.Since(at).Abs() > time.Minute {
			t.Errorf("%s: the time in the log is %s", off, at)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

// dieJoining adds a node, which dies at that point.
func (f faultyNodes) dieJoining(id, point string) {
	f.t.Helper()
	f.fault("HEXRD_FAULT_CRASH=" + point)
	_, err := f.c.AddNode(f.t.Context())
	f.fault("")
	if err == nil {
		until(f.t, "the node to come to that point", func() bool { return !f.running(id) })
	}
}

// TestCrashWhileJoining: a node that was admitted dies before it knows of any
// configuration, and comes back by a plain start: it knows who admitted it.
func TestCrashWhileJoining(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"start.raft", "snapshot.written"} { // before it enters, and after
		t.Run(point, func(t *testing.T) {
			c, d := startFaulty(t, "", "--snapshot-entries", "20", "--trailing-entries", "3", "--snapshot-interval", "100ms")
			bot := dialAs(t, c, "acme/bot", c.Addresses()...)
			for i := range 60 { // more than the logs keep: it gets a snapshot
				if _, err := bot.Put(t.Context(), "k", []byte(strconv.Itoa(i)), client.PutOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			d.t = t
			d.dieJoining("n4", point)
			empty := d.backup("n4")
			n, err := c.StartNode(t.Context(), "n4")
			if err != nil {
				t.Fatal(err)
			}
			there := dialAs(t, c, "acme/bot", n.Address)
			for range 3 { // what it proposes carries its mark
				got, err := there.Get(t.Context(), "k")
				if err != nil || got.Text() != "59" {
					t.Errorf("at the new node: %q, %v", got.Text(), err)
				}
			}
			d.kill("n4")
			d.replace("n4", empty)
			if _, err := c.StartNode(t.Context(), "n4"); err == nil {
				until(t, "the node to end: its disk went back to before it was a member", func() bool { return !d.running("n4") })
			}
		})
	}
}

// TestCrashWhileCatchingUp: a node that joins goes through the configurations that
// are in the log. It dies at one whose members are all gone by now, and comes back.
func TestCrashWhileCatchingUp(t *testing.T) {
	t.Parallel()
	c, d := startFaulty(t, "")
	old := c.Addresses()
	write := func(addrs []string, value string) {
		bot := dialAs(t, c, "acme/bot", addrs...)
		for range 70 { // more than raft sends at once
			if _, err := bot.Put(t.Context(), "k", []byte(value), client.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(old, "old")
	for range 3 {
		if _, err := c.AddNode(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	addrs := c.Addresses()[len(old):]
	operator := dialAs(t, c, "/hexr/operator/test", addrs...)
	for _, id := range []string{"n1", "n2", "n3"} {
		until(t, id+" to be removed", func() bool { return operator.RemoveMember(t.Context(), id) == nil })
	}
	write(addrs, "new")
	d.dieJoining("n7", "log.stored")
	n, err := c.StartNode(t.Context(), "n7")
	if err != nil {
		t.Fatal(err)
	}
	got, err := dialAs(t, c, "acme/bot", n.Address).Get(t.Context(), "k")
	if err != nil || got.Text() != "new" {
		t.Errorf("at the new node: %q, %v", got.Text(), err)
	}
}
