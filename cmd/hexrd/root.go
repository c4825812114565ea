package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexrdev/hexrd/client"
)

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	cmd := newRootCommand()
	cmd.SetArgs(args)
	cmd.SetIn(stdin)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	var code exitError
	if err != nil && !errors.As(err, &code) {
		_, _ = fmt.Fprintln(stderr, "hexrd:", err)
	}
	return exitCode(err)
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "hexrd",
		Short: "A Raft-replicated, SPIFFE-scoped secret store for AI agents",
		Long: `hexrd keeps secrets for agents: replicated, encrypted, and with an audit row for
every access. Who the caller is comes from its X.509-SVID.

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 not found; 4 denied; 5 conflict;
6 unavailable; 7 not authenticated; 8 throttled.`,
		SilenceUsage: true, SilenceErrors: true,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError(err) })
	f := root.PersistentFlags()
	f.String("addr", "", "nodes' host:port, comma-separated (default: HEXR_ADDR)")
	f.String("socket", "", "SPIFFE Workload API (default: SPIFFE_ENDPOINT_SOCKET)")
	f.String("cert", "", "SVID as PEM, in place of a Workload API")
	f.String("key", "", "its private key as PEM")
	f.String("bundle", "", "trust bundle as PEM")
	f.StringP("output", "o", "human", "human or json")
	f.Duration("timeout", 15*time.Second, "how long a call may take")
	root.AddCommand(
		newPutCommand(), newGetCommand(), newListCommand(), newDeleteCommand(), newUndeleteCommand(), newDestroyCommand(),
		newDescribeCommand(), newVersionsCommand(), newWhoAmICommand(), newJWTCommand(), newExecCommand(), newImportCommand(),
		newWatchCommand(), newRotateCommand(),
		newAuditCommand(), newStatusCommand(), newMembersCommand(), newTokenCommand(), newSettingsCommand(),
		newKeysCommand(), newBenchCommand(),
		newBlockCommand(), newUnblockCommand(),
		newStartCommand(), newJoinCommand(), newLeaveCommand(), newDevCommand(), newVersionCommand(),
	)
	blameUsage(root)
	return root
}

// blameUsage makes wrong arguments of every verb a usage error, and flags that
// don't go together.
func blameUsage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := errors.Join(check(cmd, args), cmd.ValidateFlagGroups()); err != nil {
				return usageError(err)
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		blameUsage(sub)
	}
}

// dial makes a client from the flags.
func dial(ctx context.Context, cmd *cobra.Command) (*client.Client, error) {
	get := func(name string) string { return cmd.Flag(name).Value.String() }
	cfg := client.Config{
		Socket: get("socket"), CertFile: get("cert"), KeyFile: get("key"), BundleFile: get("bundle"),
	}
	if addr := get("addr"); addr != "" {
		cfg.Addrs = strings.Split(addr, ",")
	}
	cfg.Timeout, _ = cmd.Flags().GetDuration("timeout")
	if err := cfg.Validate(); err != nil {
		return nil, usageError(err)
	}
	return client.Dial(ctx, cfg)
}

// withClient runs do with a client, and a context that signals end.
func withClient(cmd *cobra.Command, do func(context.Context, *client.Client) error) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if _, err := outputOf(cmd); err != nil {
		return err
	}
	c, err := dial(ctx, cmd)
	if err != nil {
		return err
	}
	return errors.Join(do(ctx, c), c.Close())
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version())
			return err
		},
	}
}

// version is the module's, as the build recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}
