package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexrdev/hexrd"
	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/internal/bench"
)

func newBenchGrowthCommand() *cobra.Command {
	var (
		g      bench.Growth
		report reportFlags
	)
	cmd := &cobra.Command{
		Use: "growth", Short: "Measure how costs grow with what a cluster holds, on one of its own",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			bed, err := startBed(ctx, cmd, g.LogStore, standardIdentities,
				"--snapshot-entries", "200", "--trailing-entries", "200", "--snapshot-interval", "500ms")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, bed.close()) }()
			clusterDir, svids := filepath.Join(bed.dir, "cluster"), filepath.Join(bed.dir, "svids")
			g.Agents = func(ctx context.Context, from, to int) ([]client.Config, error) {
				return mintAgents(ctx, clusterDir, svids, from, to)
			}
			if g.Auditor, err = mintClient(ctx, clusterDir, benchAuditor, svids); err != nil {
				return err
			}
			g.Bed = bed.run()
			g.Log, g.Progress = cmd.ErrOrStderr(), terminal(cmd.ErrOrStderr())
			rows, err := g.Run(ctx)
			if err != nil {
				return err
			}
			return report.write(cmd, bench.Report{Section: "growth", Rows: rows, Text: fmt.Sprintf(
				"%s; log store %s; microseconds are CPU of all three nodes for an operation, 64 workers, measured for %s.",
				bench.Machine(), g.LogStore, g.Duration)})
		},
	}
	f := cmd.Flags()
	f.StringVar(&g.LogStore, "log-store", hexrd.DefaultLogStore, "raft log store: bolt or wal")
	f.DurationVar(&g.Duration, "duration", 3*time.Second, "of each measurement")
	f.IntVar(&g.Steps, "steps", 3, "sizes of each dimension, each four times the one before")
	report.add(cmd)
	return cmd
}
