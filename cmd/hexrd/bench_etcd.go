package main

import (
	"errors"
	"fmt"
	"os/exec"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexrdev/hexrd"
	"github.com/hexrdev/hexrd/internal/bench"
)

func newBenchEtcdCommand() *cobra.Command {
	var (
		p       bench.Peer
		report  reportFlags
		program string
		etcd    string
	)
	cmd := &cobra.Command{
		Use: "etcd", Short: "Measure etcd and hexrd in turns, on clusters of their own",
		Long: `Start three nodes of hexrd and three members of etcd on this machine, and put the
same loads on both, in turns. ` + "`make bench-etcd`" + ` builds the program that drives etcd.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			version, err := etcdVersion(etcd)
			if err != nil {
				return err
			}
			bed, err := startBed(ctx, cmd, p.LogStore, standardIdentities)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, bed.close()) }()
			f, err := bed.cluster.ServerFiles(benchTenant+"/etcd", bed.dir)
			if err != nil {
				return err
			}
			p.Name = "etcd"
			p.Command = []string{program, "--etcd", etcd, "--dir", bed.dir, "--cert", f.Cert, "--key", f.Key, "--bundle", f.Bundle}
			p.Bed = bed.run()
			p.Log, p.Progress = cmd.ErrOrStderr(), terminal(cmd.ErrOrStderr())
			rows, err := p.Run(ctx)
			if err != nil {
				return err
			}
			return report.write(cmd, bench.Report{Section: "etcd", Rows: rows, Text: fmt.Sprintf(
				"%s; etcd %s, linearizable reads, no audit and values in clear; hexrd with log store %s; values of 1 KiB over as many connections; medians of %d measurements of %s.",
				bench.Machine(), version, p.LogStore, p.Rounds, p.Duration)})
		},
	}
	f := cmd.Flags()
	f.StringVar(&program, "driver", "bin/bench-etcd", "the program that drives etcd")
	f.StringVar(&etcd, "etcd", "etcd", "the etcd program")
	f.StringVar(&p.LogStore, "log-store", hexrd.DefaultLogStore, "raft log store of hexrd: bolt or wal")
	f.DurationVar(&p.Duration, "duration", 2*time.Second, "of each measurement")
	f.IntVar(&p.Rounds, "rounds", 7, "how often each is done")
	report.add(cmd)
	return cmd
}

func etcdVersion(etcd string) (string, error) {
	out, err := exec.Command(etcd, "--version").Output() //nolint:noctx // it prints and ends
	if err != nil {
		return "", fmt.Errorf("etcd does not run: install Debian's package etcd-server: %w", err)
	}
	if v := regexp.MustCompile(`\d+\.\d+\.\d+`).Find(out); v != nil {
		return string(v), nil
	}
	return "unknown", nil
}
