package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexrdev/hexrd/internal/dev"
)

// findTimeout is how long the other dev verbs wait for the cluster to be ready.
const findTimeout = 60 * time.Second

func newDevCommand() *cobra.Command {
	var cfg dev.Config
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a cluster on this machine to try hexrd out",
		Long: `Run a cluster on this machine, on loopback, until Ctrl-C: node processes, a small
CA and a SPIFFE Workload API for them. With --dir its data is kept.

It isolates nothing between processes of one user: whoever can read the directory
has the CA's key, and each node's wrapper key lies beside its data.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			keep := cmd.Flags().Changed("dir")
			return runDev(cmd, cfg, keep)
		},
	}
	cmd.PersistentFlags().StringVar(&cfg.Dir, "dir", dev.DefaultDir(), "directory of the dev cluster")
	cmd.Flags().IntVar(&cfg.Nodes, "nodes", 3, "how many nodes")
	cmd.Flags().StringVar(&cfg.TrustDomain, "trust-domain", "", "SPIFFE trust domain (default hexr.cloud)")
	cmd.Flags().DurationVar(&cfg.SVIDTTL, "svid-ttl", time.Hour, "how long SVIDs live")
	cmd.Flags().StringVar(&cfg.LogStore, "log-store", "", "raft log store of new nodes: bolt or wal")
	cmd.AddCommand(newDevExecCommand(&cfg.Dir), newDevNodesCommand(&cfg.Dir), newDevKillCommand(&cfg.Dir),
		newDevStartCommand(&cfg.Dir), newDevRotateCommand(&cfg.Dir), newDevTourCommand())
	return cmd
}

func runDev(cmd *cobra.Command, cfg dev.Config, keep bool) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	out := cmd.OutOrStdout()
	cfg.Progress = out
	if !keep {
		if err := dev.Remove(cfg.Dir); err != nil { // of a run that was killed
			return err
		}
	}
	cluster, err := dev.Start(ctx, cfg)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, `
%d nodes of %s run: %s
Data, CA and logs are in %s. Nothing is isolated between processes of one user.

In another terminal:
  hexrd dev exec acme/my-agent -- hexrd put api-keys/openai
  hexrd dev exec acme/my-agent -- hexrd get api-keys/openai
  hexrd dev exec /hexr/operator/ann -- hexrd members
  hexrd dev exec /hexr/auditor/ben -- hexrd audit query
  hexrd dev nodes
  hexrd dev kill leader

Ctrl-C ends it.
`, len(cluster.Addresses()), cluster.TrustDomain(), strings.Join(cluster.Addresses(), ", "), cfg.Dir)
	<-ctx.Done()
	_, _ = fmt.Fprintln(out, "stopping")
	err = cluster.Close()
	if !keep {
		err = errors.Join(err, dev.Remove(cfg.Dir))
	}
	return err
}

func newDevExecCommand(dir *string) *cobra.Command {
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "exec ID -- CMD [ARG...]",
		Short: "Run a program with an identity",
		Long: `Run a program with an identity of the dev cluster. ID is TENANT/AGENT[/PROCESS], or
the path of a SPIFFE ID such as /hexr/operator/ann or /hexr/provisioner/acme/ci.

It sets SPIFFE_ENDPOINT_SOCKET, HEXR_ADDR, HEXR_VAULT_URL and HEXR_CA_FILE.`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), findTimeout)
			defer cancel()
			code, err := dev.Exec(ctx, dev.ExecConfig{Dir: *dir, ID: args[0], SVIDTTL: ttl, Command: args[1:]})
			if err != nil {
				return err
			}
			if code != 0 {
				return exitError(code)
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&ttl, "svid-ttl", 0, "how long its SVIDs live (default: the cluster's)")
	return cmd
}

func find(cmd *cobra.Command, dir string) (*dev.Control, error) {
	ctx, cancel := context.WithTimeout(cmd.Context(), findTimeout)
	defer cancel()
	return dev.Find(ctx, dir)
}

func newDevNodesCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "nodes", Short: "List the dev cluster's nodes", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := outputOf(cmd)
			if err != nil {
				return err
			}
			c, err := find(cmd, *dir)
			if err != nil {
				return err
			}
			nodes, err := c.Nodes(cmd.Context())
			if err != nil {
				return err
			}
			return showNodes(o, nodes...)
		},
	}
}

func showNodes(o output, nodes ...dev.NodeInfo) error {
	t := o.table("NODE\tADDRESS\tPID\tROLE\tSTATE\tDATA\tLOG")
	for _, n := range nodes {
		if o.json {
			if err := o.object(n); err != nil {
				return err
			}
			continue
		}
		if err := t.row(nil, n.ID, n.Address, n.PID, n.Role, n.State, n.DataDir, n.LogFile); err != nil {
			return err
		}
	}
	return t.end()
}

func newDevKillCommand(dir *string) *cobra.Command {
	var sig string
	cmd := &cobra.Command{
		Use: "kill NODE|leader", Short: "Send a signal to a node's process", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := outputOf(cmd)
			if err != nil {
				return err
			}
			c, err := find(cmd, *dir)
			if err != nil {
				return err
			}
			n, err := c.Signal(cmd.Context(), args[0], strings.TrimPrefix(strings.ToUpper(sig), "SIG"))
			if err != nil {
				return err
			}
			return showNodes(o, n)
		},
	}
	cmd.Flags().StringVar(&sig, "signal", "KILL", "KILL, STOP, CONT, TERM, QUIT or ABRT")
	return cmd
}

func newDevStartCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "start NODE", Short: "Start a node that does not run", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := outputOf(cmd)
			if err != nil {
				return err
			}
			c, err := find(cmd, *dir)
			if err != nil {
				return err
			}
			n, err := c.StartNode(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return showNodes(o, n)
		},
	}
}

func newDevRotateCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "rotate-jwt", Short: "Make a new key for JWT-SVIDs", Args: cobra.NoArgs,
		Long: `Make a new key for JWT-SVIDs. Tokens that the present key has signed count until
they end; what the key before it has signed counts no more.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := find(cmd, *dir)
			if err != nil {
				return err
			}
			return c.RotateJWTKey(cmd.Context())
		},
	}
}

func newDevTourCommand() *cobra.Command {
	return &cobra.Command{
		Use: "tour", Short: "Show what hexrd does, on a cluster of its own", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return dev.Tour(ctx, cmd.OutOrStdout())
		},
	}
}
