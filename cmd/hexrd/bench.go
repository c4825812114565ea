package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/internal/bench"
	"github.com/hexrdev/hexrd/internal/dev"
)

const (
	benchTenant  = "bench"
	benchAuditor = "/hexr/auditor/bench"
	benchSVIDs   = 24 * time.Hour
)

func newBenchCommand() *cobra.Command {
	var (
		cfg        bench.Config
		dir        string
		identities int
		admins     []string
	)
	cmd := &cobra.Command{
		Use:   "bench " + strings.Join(bench.Workloads, "|"),
		Short: "Measure a cluster",
		Long: `Put a load on a cluster, with the Go client, and show what it reached: operations
a second, latencies, errors by reason, and what the servers spent on it.

The load comes from as many agents as --identities says. On the cluster of
` + "`hexrd dev`" + ` (--dir) their SVIDs are made for it. Elsewhere they are in the
directory of --svids, as NAME.pem and NAME-key.pem, with --bundle; or there is one,
that of --cert and --key, or of the Workload API.
A node lets each identity have 1,000 calls a second, and 256 at a time: with few
identities the load is refused, as RATE_LIMITED; an operator raises that with
` + "`hexrd settings set rate_per_second N`" + `, and rate_burst.
It writes the secrets that it reads under bench/ in its agents' scopes; they stay.

Metrics are read at the nodes' admin sockets, or at their port as the auditor
of --auditor-cert and --auditor-key.`,
		Args: cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs), ValidArgs: bench.Workloads,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			o, err := outputOf(cmd)
			if err != nil {
				return err
			}
			cfg.Workload = args[0]
			temp, err := os.MkdirTemp("", "hexrd-bench-")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
			if err := benchCluster(ctx, cmd, &cfg, dir, temp, identities, admins); err != nil {
				return err
			}
			if err := cfg.Validate(); err != nil {
				return usageError(err)
			}
			cfg.Progress = terminal(cmd.ErrOrStderr())
			result, err := bench.Measure(ctx, cfg)
			if err != nil {
				return err
			}
			return showBench(o, result)
		},
	}
	f := cmd.Flags()
	f.IntVar(&cfg.Workers, "workers", 64, "calls at a time")
	f.DurationVar(&cfg.Duration, "duration", 10*time.Second, "how long it is measured")
	f.DurationVar(&cfg.WarmUp, "warm-up", 3*time.Second, "how long before that")
	f.IntVar(&cfg.ValueSize, "value-size", 1024, "bytes of a value")
	f.IntVar(&cfg.Secrets, "secrets", 1024, "secrets in all")
	f.IntVar(&cfg.Batch, "batch", 10, "paths of a batch-get, and secrets that a list shows")
	f.StringVar(&cfg.Target, "target", bench.All, "leader, follower or all")
	f.BoolVar(&cfg.Skip, "no-prepare", false, "the secrets are there from an earlier run")
	f.IntVar(&identities, "identities", 64, "agents that call, on a dev cluster")
	f.StringVar(&dir, "dir", "", "directory of a dev cluster (default: that of `hexrd dev`, where nothing else is named)")
	f.String("svids", "", "directory with agents' SVIDs")
	f.StringArrayVar(&admins, "admin", nil, "HOST:PORT=SOCKET: a node's admin socket; can be repeated")
	f.String("auditor-cert", "", "an auditor's SVID, to read metrics at the port")
	f.String("auditor-key", "", "its private key")
	cmd.MarkFlagsRequiredTogether("auditor-cert", "auditor-key")
	cmd.AddCommand(newBenchStandardCommand(), newBenchEtcdCommand(), newBenchGrowthCommand(), newBenchEchoCommand(), newBenchRaftCommand())
	return cmd
}

// terminal is where progress goes; nil where nobody watches.
func terminal(w io.Writer) io.Writer {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// benchCluster finds out who calls which nodes: those of a dev cluster, or those
// of the flags.
func benchCluster(ctx context.Context, cmd *cobra.Command, cfg *bench.Config, dir, temp string, identities int, admins []string) error {
	get := func(name string) string { return cmd.Flag(name).Value.String() }
	named := get("svids") + get("cert") + get("socket") + os.Getenv(client.SocketEnv)
	if dir != "" || named == "" {
		return benchDev(ctx, cfg, dir, temp, identities)
	}
	addrs := strings.Split(get("addr")+os.Getenv(client.AddrEnv), ",")
	if get("addr") != "" {
		addrs = strings.Split(get("addr"), ",")
	}
	sockets := map[string]string{}
	for _, a := range admins {
		addr, socket, ok := strings.Cut(a, "=")
		if !ok {
			return usageError(errors.New("--admin: use HOST:PORT=SOCKET"))
		}
		sockets[addr] = socket
	}
	for _, a := range addrs {
		if a = strings.TrimSpace(a); a != "" {
			cfg.Nodes = append(cfg.Nodes, bench.Node{ID: a, Addr: a, Admin: sockets[a]})
		}
	}
	var err error
	switch {
	case get("auditor-cert") != "":
		cfg.Scraper, err = bench.NewAsAuditor(get("auditor-cert"), get("auditor-key"), get("bundle"))
	case len(sockets) > 0 && len(sockets) == len(cfg.Nodes):
		cfg.Scraper = bench.AdminSockets{}
	case len(sockets) > 0:
		err = usageError(errors.New("--admin: name the admin socket of every node, or of none"))
	}
	if err != nil {
		return err
	}
	return benchIdentities(cfg, get("svids"), client.Config{
		Socket: get("socket"), CertFile: get("cert"), KeyFile: get("key"), BundleFile: get("bundle"),
	})
}

// benchIdentities are those of a directory, or one.
func benchIdentities(cfg *bench.Config, dir string, one client.Config) error {
	if dir == "" {
		cfg.Identities = []client.Config{one}
		return nil
	}
	keys, err := filepath.Glob(filepath.Join(dir, "*-key.pem"))
	if err != nil {
		return err
	}
	for _, key := range keys {
		one.CertFile, one.KeyFile = strings.TrimSuffix(key, "-key.pem")+".pem", key
		cfg.Identities = append(cfg.Identities, one)
	}
	if len(keys) == 0 {
		return usageError(fmt.Errorf("--svids %s: it holds no NAME.pem with NAME-key.pem", dir))
	}
	return nil
}

// benchDev makes identities on a dev cluster.
func benchDev(ctx context.Context, cfg *bench.Config, dir, temp string, identities int) error {
	if dir == "" {
		dir = dev.DefaultDir()
	}
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	control, err := dev.Find(ctx, dir)
	if err != nil {
		return err
	}
	infos, err := control.Ready(ctx)
	if err != nil {
		return err
	}
	cfg.Nodes, cfg.Scraper = benchNodes(infos), bench.AdminSockets{}
	cfg.Identities, err = mintAgents(ctx, dir, temp, 0, identities)
	return err
}

func benchNodes(infos []dev.NodeInfo) []bench.Node {
	nodes := make([]bench.Node, 0, len(infos))
	for _, n := range infos {
		nodes = append(nodes, bench.Node{ID: n.ID, Addr: n.Address, Admin: n.Admin, PID: n.PID, DataDir: n.DataDir})
	}
	return nodes
}

// mintAgents makes agents from one number up to another.
func mintAgents(ctx context.Context, dir, into string, from, to int) ([]client.Config, error) {
	var agents []client.Config
	for i := from; i < to; i++ {
		c, err := mintClient(ctx, dir, fmt.Sprintf("%s/agent-%04d", benchTenant, i), into)
		if err != nil {
			return nil, err
		}
		agents = append(agents, c)
	}
	return agents, nil
}

func mintClient(ctx context.Context, dir, id, into string) (client.Config, error) {
	f, err := dev.MintFiles(ctx, dir, id, into, benchSVIDs)
	return client.Config{CertFile: f.Cert, KeyFile: f.Key, BundleFile: f.Bundle}, err
}

func showBench(o output, r bench.Result) error {
	if o.json {
		return o.object(r)
	}
	return bench.Show(o.w, r)
}
