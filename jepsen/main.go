// Command jepsen runs campaigns of faults against real hexrd processes; see its
// README.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/hexrdev/hexrd/jepsen/campaign"
	"github.com/hexrdev/hexrd/jepsen/lazyfs"
	"github.com/hexrdev/hexrd/jepsen/nemesis"
)

func main() {
	lazyfs.Main() // in a process that serves a mount
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	cfg, err := parse(os.Args[1:])
	if err == nil {
		err = campaign.Run(ctx, cfg)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "jepsen:", err)
		stop()
		os.Exit(1)
	}
}

func parse(args []string) (campaign.Config, error) {
	c := campaign.Config{Progress: os.Stdout}
	f := flag.NewFlagSet("jepsen", flag.ContinueOnError)
	f.StringVar(&c.Out, "out", "jepsen-out", "directory of reports, and of what a failure leaves")
	f.StringVar(&c.Program, "bin", os.Getenv("HEXRD_BIN"), "hexrd binary, built with -tags hexrdfault (default: built)")
	f.StringVar(&c.Old, "old", "", "hexrd binary of an earlier version, also built so: nodes begin with it, and are upgraded one by one")
	f.DurationVar(&c.Time, "time", 10*time.Minute, "how long runs are begun")
	f.DurationVar(&c.RunTime, "run", time.Minute, "load of one run")
	f.Uint64Var(&c.Seed, "seed", uint64(time.Now().Unix()), "seed of the campaign")
	f.IntVar(&c.From, "from", 1, "number of the first run: to resume, or to do one again")
	f.IntVar(&c.Runs, "runs", 0, "how many runs (default: as many as -time allows)")
	f.IntVar(&c.Nodes, "nodes", 0, "nodes (default: of the seed)")
	f.StringVar(&c.LogStore, "log-store", "", "bolt or wal (default: of the seed)")
	f.DurationVar(&c.SVIDTTL, "svid-ttl", 0, "life of SVIDs (default: of the seed)")
	f.IntVar(&c.Kills, "kills", 0, "with -faults torture: end a run after so many kills")
	f.BoolVar(&c.Loopback, "loopback", false, "no network namespaces, though they could be had")
	f.StringVar(&c.Python, "python", "", "Python interpreter with the SDK, for its workload")
	f.BoolVar(&c.Keep, "keep", false, "keep logs and directories of the nodes, also where nothing was found")
	faults := f.String("faults", "", "faults or classes, with commas: "+strings.Join(nemesis.Names(), " ")+" none (default: a mix of the seed)")
	workloads := f.String("workloads", "", "workloads, with commas (default: all)")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("%q is no flag", f.Arg(0))
	}
	c.Faults, c.Workloads = list(*faults), list(*workloads)
	if err := lazyfs.Available(); err == nil {
		c.Mount = mount
	} else {
		c.NoDisks = err.Error()
	}
	return c, nil
}

func mount(ctx context.Context, dir, backing string, seed uint64) (nemesis.Disk, error) {
	return lazyfs.Mount(ctx, lazyfs.Config{Dir: dir, Backing: backing, Seed: seed})
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}
