package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexrdev/hexrd"
	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/internal/bench"
	"github.com/hexrdev/hexrd/internal/dev"
)

const benchOperator = "/hexr/operator/bench"

// reportFlags say where a report goes.
type reportFlags struct{ page, out, commit string }

func (r *reportFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.page, "page", "", "Markdown page whose section is replaced")
	cmd.Flags().StringVar(&r.out, "out", "", "file for the rows as JSON")
	cmd.Flags().StringVar(&r.commit, "commit", "unknown", "what was built, for the report")
}

func (r *reportFlags) write(cmd *cobra.Command, report bench.Report) error {
	report.Commit = r.commit
	_, err := fmt.Fprint(cmd.OutOrStdout(), report.Markdown())
	if r.page != "" {
		err = errors.Join(err, report.WritePage(r.page))
	}
	if r.out != "" {
		err = errors.Join(err, report.WriteJSON(r.out))
	}
	return err
}

// benchBed is a dev cluster of a run's own, with identities for it.
type benchBed struct {
	cluster  *dev.Cluster
	dir      string
	agents   []client.Config
	operator client.Config
	program  string
}

// startBed starts three nodes in a new directory.
func startBed(ctx context.Context, cmd *cobra.Command, logStore string, identities int, nodeArgs ...string) (_ *benchBed, err error) {
	b := &benchBed{}
	if b.program, err = os.Executable(); err != nil {
		return nil, err
	}
	if b.dir, err = os.MkdirTemp("", "hexrd-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	clusterDir, svids := filepath.Join(b.dir, "cluster"), filepath.Join(b.dir, "svids")
	if err := os.Mkdir(svids, 0o700); err != nil {
		return nil, err
	}
	b.cluster, err = dev.Start(ctx, dev.Config{Dir: clusterDir, LogStore: logStore, SVIDTTL: benchSVIDs, NodeArgs: nodeArgs, Progress: cmd.ErrOrStderr()})
	if err != nil {
		return b, err
	}
	if b.agents, err = mintAgents(ctx, clusterDir, svids, 0, identities); err != nil {
		return b, err
	}
	b.operator, err = mintClient(ctx, clusterDir, benchOperator, svids)
	return b, err
}

// run is the bed as a run takes it.
func (b *benchBed) run() bench.Bed {
	return bench.Bed{Cluster: b, Identities: b.agents, Operator: b.operator}
}

func (b *benchBed) close() error {
	var err error
	if b.cluster != nil {
		err = b.cluster.Close()
	}
	return errors.Join(err, os.RemoveAll(b.dir))
}

// Nodes of the cluster (bench.Cluster).
func (b *benchBed) Nodes(ctx context.Context) ([]bench.Node, error) {
	return benchNodes(b.cluster.Nodes(ctx)), nil
}

// Kill ends a node's process.
func (b *benchBed) Kill(ctx context.Context, id string) error { return b.signal(ctx, id, "KILL") }

// Stop halts it.
func (b *benchBed) Stop(ctx context.Context, id string) error { return b.signal(ctx, id, "STOP") }

// Continue ends that.
func (b *benchBed) Continue(ctx context.Context, id string) error { return b.signal(ctx, id, "CONT") }

func (b *benchBed) signal(ctx context.Context, id, signal string) error {
	_, err := b.cluster.Signal(ctx, id, signal)
	return err
}

// Start starts one that does not run.
func (b *benchBed) Start(ctx context.Context, id string) error {
	_, err := b.cluster.StartNode(ctx, id)
	return err
}

func newBenchStandardCommand() *cobra.Command {
	var (
		s      bench.Standard
		report reportFlags
	)
	cmd := &cobra.Command{
		Use: "standard", Short: "Measure the standard table, on a cluster of its own",
		Long: `Start three nodes on this machine, and measure the standard table: hexrd, and in the
same run what this machine can do at most, so that ratios hold on noisy machines.
It raises the limits of callers on its cluster, which is removed at the end.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			start := func(ctx context.Context) (*benchBed, error) {
				return startBed(ctx, cmd, s.LogStore, standardIdentities,
					"--snapshot-entries", "2048", "--snapshot-interval", "10s") // four times as often as usual: they are measured
			}
			bed, err := start(ctx)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, bed.close()) }()
			s.Beside = func(ctx context.Context) (bench.Bed, func() error, error) {
				other, err := start(ctx)
				if err != nil {
					return bench.Bed{}, nil, err
				}
				return other.run(), other.close, nil
			}
			s.Bed, s.Program = bed.run(), bed.program
			s.Dir, s.Log, s.Progress = bed.dir, cmd.ErrOrStderr(), terminal(cmd.ErrOrStderr())
			began := time.Now()
			rows, err := s.Run(ctx)
			if err != nil {
				return err
			}
			return report.write(cmd, bench.Report{Section: "standard", Rows: rows, Text: fmt.Sprintf(
				"%s; three nodes and the load on one machine, log store %s, a snapshot every 2,048 entries, %d identities with raised limits; medians of %d measurements of %s; the run took %s.",
				bench.Machine(), s.LogStore, standardIdentities, s.Rounds, s.Duration, time.Since(began).Round(time.Second))})
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.LogStore, "log-store", hexrd.DefaultLogStore, "raft log store: bolt or wal")
	f.DurationVar(&s.Duration, "duration", 2*time.Second, "of each measurement")
	f.IntVar(&s.Rounds, "rounds", 7, "how often each is done")
	f.IntVar(&s.Failovers, "failovers", 10, "how often the leader is killed")
	f.IntVar(&s.Arrivals, "arrivals", 10_000, "connections of the burst")
	f.IntVar(&s.Secrets, "secrets", 20_000, "of the large store; 0: without it")
	f.IntVar(&s.Rows, "rows", 200_000, "audit rows of the large store")
	report.add(cmd)
	return cmd
}

const standardIdentities = 64

// newBenchEchoCommand is a process of the standard run.
func newBenchEchoCommand() *cobra.Command {
	return &cobra.Command{
		Use: "serve-echo", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := beginAgain(); err != nil { // it runs as a node does
				return err
			}
			s, err := bench.ServeEcho(cmd.Context(), benchFiles(cmd), bench.EchoBytes)
			if err != nil {
				return err
			}
			return errors.Join(bench.Obey(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), s.Addr(), nil), s.Close())
		},
	}
}

// newBenchRaftCommand is a process of the standard run.
func newBenchRaftCommand() *cobra.Command {
	var c bench.BareConfig
	cmd := &cobra.Command{
		Use: "serve-raft", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := beginAgain(); err != nil { // it runs as a node does
				return err
			}
			c.Identity = benchFiles(cmd)
			b, err := bench.OpenBareRaft(cmd.Context(), c)
			if err != nil {
				return err
			}
			return errors.Join(bench.Obey(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), c.ID, b.Measure), b.Close())
		},
	}
	cmd.Flags().StringVar(&c.ID, "id", "", "")
	cmd.Flags().StringSliceVar(&c.Peers, "peers", nil, "")
	cmd.Flags().StringVar(&c.Dir, "dir", "", "")
	cmd.Flags().StringVar(&c.LogStore, "log-store", "", "")
	return cmd
}

func benchFiles(cmd *cobra.Command) client.Config {
	get := func(name string) string { return cmd.Flag(name).Value.String() }
	return client.Config{CertFile: get("cert"), KeyFile: get("key"), BundleFile: get("bundle")}
}
