package campaign

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/jepsen/arena"
	"github.com/hexrdev/hexrd/jepsen/check"
	"github.com/hexrdev/hexrd/jepsen/history"
	"github.com/hexrdev/hexrd/jepsen/nemesis"
	"github.com/hexrdev/hexrd/jepsen/network"
	"github.com/hexrdev/hexrd/jepsen/report"
	"github.com/hexrdev/hexrd/jepsen/workload"
)

const collectLimit = 2 * time.Minute

// run is one run of a campaign.
type run struct {
	c    *Config
	plan Plan
	dir  string // of the report, the history and the nodes

	network  *network.Network
	disks    *nemesis.Disks
	cluster  *arena.Cluster
	recorder *history.Recorder
	timeline *nemesis.Timeline
	load     *workload.Load
	left     []string // faults and workloads that were left out
	results  []check.Result
	ops      []history.Op
}

// execute does the run, and returns its report. An error says that it could not
// be done; what it found is in the report.
func (r *run) execute(ctx context.Context) (*report.Run, error) {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if r.recorder, err = history.Create(filepath.Join(r.dir, "history.jsonl")); err != nil {
		return nil, err
	}
	r.timeline = &nemesis.Timeline{Now: r.recorder.Now}
	err = errors.Join(r.live(ctx), r.close())
	ops, closeErr := r.recorder.Close()
	r.ops = ops
	if err = errors.Join(err, closeErr); err != nil {
		return nil, err
	}
	return r.report()
}

// live is the run while its cluster exists.
func (r *run) live(ctx context.Context) error {
	if err := r.open(ctx); err != nil {
		return err
	}
	target := &nemesis.Target{Cluster: r.cluster, Network: r.network, Disks: r.disks, Timeline: r.timeline}
	faults, left, err := nemesis.Choose(target, r.plan.Faults)
	if err != nil {
		return err
	}
	r.left = append(r.left, left...)
	stop, err := r.begin(ctx)
	if err != nil {
		return err
	}
	load, cancel := context.WithTimeout(ctx, r.plan.Time)
	defer cancel()
	if r.plan.kills > 0 {
		go r.endAfter(load, cancel)
	}
	violations := nemesis.Run(load, target, faults, r.plan.runSeed)
	<-load.Done()
	r.promises(violations)
	if ctx.Err() != nil {
		stop()
		return ctx.Err()
	}
	healed := r.heal(ctx)
	if healed == nil {
		r.load.Last(ctx) // while the load goes on: what was written must be there
	}
	stop()
	r.recovered(healed)
	r.check(ctx)
	return nil
}

func (r *run) open(ctx context.Context) error {
	if !r.plan.withoutSpace {
		var err error
		if r.network, err = network.Open(r.plan.runSeed); err != nil {
			r.left = append(r.left, "namespaces: "+err.Error())
		}
	}
	cfg := arena.Config{
		Dir: filepath.Join(r.dir, "cluster"), Program: r.c.Program, Old: r.c.Old, Nodes: r.plan.Nodes, LogStore: r.plan.LogStore,
		SVIDTTL: r.plan.SVIDTTL, Network: r.network, Logger: slog.New(slog.DiscardHandler), Exited: func(id string, err error) {
			r.timeline.Mark("exit", "exit", fmt.Sprintf("%s: %v", id, err))
		},
	}
	if nemesis.Want(r.plan.Faults, nemesis.Storage) { // they cost every write something
		if r.c.Mount == nil {
			r.left = append(r.left, "disks: "+r.c.NoDisks)
		} else {
			r.disks = &nemesis.Disks{Mount: r.c.Mount, Backing: filepath.Join(r.dir, "backing"), Seed: r.plan.runSeed}
			cfg.Mount = r.disks.Under
		}
	}
	if r.plan.Snapshots {
		cfg.NodeArgs = snapshots(r.disks != nil)
	}
	if r.plan.Copies {
		cfg.Env = []string{"HEXRD_FAULT_COPIES=1"}
	}
	var err error
	r.cluster, err = arena.Start(ctx, cfg)
	return err
}

// snapshots are flags for many of them, with a log behind them that is soon too
// short for who was away. It must hold what is written while one is installed, or
// nobody ever catches up: on the suite's disks that takes seconds.
func snapshots(slowDisks bool) []string {
	trailing := "16"
	if slowDisks {
		trailing = "600"
	}
	return []string{"--snapshot-entries", "64", "--trailing-entries", trailing, "--snapshot-interval", "200ms"}
}

// begin starts the load, and returns what ends it.
func (r *run) begin(ctx context.Context) (func(), error) {
	r.load = &workload.Load{
		Cluster: r.cluster, Recorder: r.recorder, Seed: r.plan.runSeed, Names: r.plan.Workloads, Python: r.c.Python,
	}
	if err := r.load.Prepare(ctx); err != nil {
		return nil, err
	}
	r.left = append(r.left, r.load.Left...)
	ctx, cancel := context.WithCancel(ctx)
	wait := r.load.Begin(ctx)
	return sync.OnceFunc(func() {
		cancel()
		wait()
	}), nil
}

// endAfter ends the load once there were enough kills.
func (r *run) endAfter(ctx context.Context, end func()) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if r.kills() >= r.plan.kills {
				end()
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (r *run) kills() (n int) {
	for _, e := range r.timeline.Events() {
		if e.Class == nemesis.Torture {
			n++
		}
	}
	return n
}

// heal takes back what faults may have left, and waits for all nodes.
func (r *run) heal(ctx context.Context) error {
	begun := r.timeline.Now()
	if r.network != nil {
		r.network.Heal()
	}
	var errs []error
	if r.disks != nil {
		errs = append(errs, r.disks.Heal())
	}
	for _, n := range r.cluster.Members() {
		errs = append(errs, n.SetClock(0))
	}
	r.cluster.UpgradeAll()
	err := errors.Join(append(errs, r.cluster.Recover(ctx))...)
	r.timeline.Add(nemesis.Event{Class: "heal", Name: "heal", Start: begun, End: r.timeline.Now()})
	return err
}

// promises and recovered are results of their own.
func (r *run) promises(violations error) {
	res := check.Result{Name: "faults", Checked: len(r.timeline.Events())}
	if violations != nil {
		res.Problems = append(res.Problems, violations.Error())
	}
	r.results = append(r.results, res)
}

func (r *run) recovered(err error) {
	res := check.Result{Name: "recovery", Checked: len(r.cluster.Members())}
	if err != nil {
		res.Problems = append(res.Problems, "a human is needed: "+err.Error())
	}
	r.results = append(r.results, res)
}

// check collects the audit, and runs all checkers.
func (r *run) check(ctx context.Context) {
	var nodes, addrs []string
	for _, n := range r.cluster.Members() {
		nodes, addrs = append(nodes, n.ID), append(addrs, n.Address)
	}
	ctx, cancel := context.WithTimeout(ctx, collectLimit)
	defer cancel()
	e := &check.Evidence{Ops: r.recorder.Ops()}
	socket, err := r.cluster.Identity(ctx, "/hexr/auditor/jepsen")
	if err == nil {
		var auditor *client.Client
		if auditor, err = client.Dial(ctx, client.Config{Addrs: addrs, Socket: socket}); err == nil {
			defer func() { _ = auditor.Close() }()
			var roots check.Result
			e.Rows, roots = check.Collect(ctx, auditor, nodes)
			r.results = append(r.results, roots)
		}
	}
	if err != nil {
		r.results = append(r.results, check.Result{Name: "roots", Problems: []string{err.Error()}})
	}
	r.results = append(r.results, check.All(e, r.dir)...)
	r.results = append(r.results, check.Logs(r.cluster.LogFiles(), r.disks != nil))
}

func (r *run) close() error {
	var errs []error
	if r.cluster != nil {
		errs = append(errs, r.cluster.Close())
	}
	if r.disks != nil {
		errs = append(errs, r.disks.Close())
	}
	if r.network != nil {
		errs = append(errs, r.network.Close())
	}
	return errors.Join(errs...)
}

func (r *run) report() (*report.Run, error) {
	out := &report.Run{
		Number: r.plan.Number, Seed: r.plan.Seed, Title: r.plan.String(), Begun: r.recorder.Begun(), Left: r.left, Replay: r.c.replay(r.plan.Number),
		Results: r.results, Events: r.timeline.Events(), Ops: r.ops,
	}
	return out, out.Write(filepath.Join(r.dir, "report.html"))
}
