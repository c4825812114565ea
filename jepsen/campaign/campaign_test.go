package campaign

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hexrdev/hexrd/jepsen/arena"
)

func TestPlanFollowsFromTheSeed(t *testing.T) {
	c := Config{Seed: 5, RunTime: time.Minute}
	if !reflect.DeepEqual(c.plan(3), c.plan(3)) {
		t.Error("a run is not the same again")
	}
	if c.plan(3).runSeed == c.plan(4).runSeed {
		t.Error("two runs have one seed")
	}
	pinned := c
	pinned.LogStore, pinned.Nodes, pinned.Faults = "wal", 5, []string{"kill-one"}
	pinned.Old = "hexrd-old"
	if p := pinned.plan(3); !reflect.DeepEqual(p.Faults, []string{"kill-one", "upgrade"}) {
		t.Errorf("nothing upgrades: %v", p)
	}
	if p := pinned.plan(3); p.runSeed != c.plan(3).runSeed || p.Snapshots != c.plan(3).Snapshots || p.LogStore != "wal" || p.Nodes != 5 {
		t.Errorf("what is pinned changes the rest: %v", p)
	}
}

func TestValidate(t *testing.T) {
	good := Config{Out: "x", RunTime: 1, From: 1}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for _, bad := range []func(*Config){
		func(c *Config) { c.Out = "" }, func(c *Config) { c.RunTime = 0 }, func(c *Config) { c.Nodes = 2 },
		func(c *Config) { c.LogStore = "paper" }, func(c *Config) { c.From = 0 },
		func(c *Config) { c.Faults = []string{"upgrade-one"} },
	} {
		c := good
		bad(&c)
		if c.Validate() == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

func TestReplayCommand(t *testing.T) {
	c := Config{Seed: 5, RunTime: time.Minute, Nodes: 5, LogStore: "wal", Faults: []string{"a", "b"}, Loopback: true}
	if got, want := c.replay(7), "go run ./jepsen -seed 5 -from 7 -runs 1 -run 1m0s -nodes 5 -log-store wal -faults a,b -loopback"; got != want {
		t.Error(got)
	}
}

// TestRunOnLoopback is a whole run, where no namespaces are to be had: it says
// what it leaves out, finds nothing, and leaves a report.
func TestRunOnLoopback(t *testing.T) {
	program := filepath.Join(t.TempDir(), "hexrd")
	if err := arena.Build(t.Context(), program, ""); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	var said bytes.Buffer
	err := Run(t.Context(), Config{
		Out: out, Program: program, RunTime: 4 * time.Second, Seed: 1, From: 2, Runs: 1, Nodes: 3, LogStore: "bolt",
		Faults: []string{"kill-one", "halves"}, Loopback: true, Progress: &said,
	})
	if err != nil || !strings.Contains(said.String(), "left out: halves") || !strings.Contains(said.String(), "left out: workload python") {
		t.Errorf("%v\n%s", err, said.String())
	}
	if _, err := os.Stat(filepath.Join(out, "run-1-2", "report.html")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(out, "run-1-2", "cluster")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the nodes of a run that found nothing were kept: %v", err)
	}
}

// TestInterrupted: who interrupts a run gets no verdict.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := Run(ctx, Config{Out: t.TempDir(), Program: "/bin/false", RunTime: time.Second, From: 1, Runs: 1, Loopback: true})
	if err == nil || errors.Is(err, ErrFound) {
		t.Error(err)
	}
}
