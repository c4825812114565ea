package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexrdev/hexrd"
	"github.com/hexrdev/hexrd/identity"
	"github.com/hexrdev/hexrd/internal/quiet"
)

const (
	stopTimeout  = 20 * time.Second
	forceAfter   = 20 * time.Second
	maxTokenFile = 4096
)

func newStartCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Run a node on this machine",
		Long: `Run a node on this machine until SIGTERM.

The first node of a new cluster is started with --bootstrap, once; every other
machine uses ` + "`hexrd join`" + `, once. After that a plain start is enough.
The node's ID is that of its SVID: spiffe://<trust-domain>/hexr/node/<node-id>.

Each flag can also be set by an environment variable (HEXRD_DATA_DIR for
--data-dir) or in the YAML file of --config (data_dir); flags come first, then
the environment, then the file.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := nodeConfig(cmd)
			if err != nil {
				return err
			}
			cfg.Bootstrap, _ = cmd.Flags().GetBool("bootstrap")
			return runNode(cmd.Context(), cfg)
		},
	}
	addNodeFlags(cmd)
	cmd.Flags().Bool("bootstrap", false, "make an empty data directory the first node of a new cluster")
	return cmd
}

func newJoinCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "join ADDR[,ADDR...]",
		Short: "Make this machine a member of a running cluster, and run its node",
		Long: `Make this machine a member of the cluster that answers at one of the addresses,
and run its node until SIGTERM. Any member will do.

An operator makes the token for this node's ID with ` + "`hexrd token create NODE-ID`" + `; it is
read from --token-file ("-": standard input). Where the data directory holds a
node already, join changes nothing and is a plain start.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := nodeConfig(cmd)
			if err != nil {
				return err
			}
			cfg.Join = strings.Split(strings.Join(args, ","), ",")
			file, _ := cmd.Flags().GetString("token-file")
			if cfg.Token, err = readToken(cmd.InOrStdin(), file); err != nil {
				return err
			}
			return runNode(cmd.Context(), cfg)
		},
	}
	addNodeFlags(cmd)
	cmd.Flags().String("token-file", "", `file with the join token; "-" reads standard input`)
	return cmd
}

func addNodeFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.String("config", "", "YAML file with these settings")
	f.String("data-dir", "/var/lib/hexrd", "directory of the raft log, the store and snapshots")
	f.String("wrapper-key", "/etc/hexrd/wrapper.key", "file whose key wraps the keyring; outside the data directory; made on bootstrap and join")
	f.String("bind", hexrd.DefaultBind, "host:port to listen on")
	f.String("advertise", "", "host:port that other nodes and clients use (default: --bind)")
	f.String("log-store", "", "raft log store of a new node: wal, or bolt, which is older and slower (default "+hexrd.DefaultLogStore+")")
	f.Uint64("snapshot-entries", 8192, "log entries between snapshots")
	f.Uint64("trailing-entries", 10240, "log entries kept behind a snapshot, for followers that lag")
	f.Duration("snapshot-interval", 30*time.Second, "how often it is looked whether a snapshot is due")
	f.String("admin-socket", "", "unix socket for metrics, profiles and leave (default: admin.sock in the data directory)")
	f.String("log-level", "info", "debug, info, warn or error")
	f.String("log-format", "json", "json or text")
}

// nodeConfig reads flags, environment and file, in that order of precedence.
func nodeConfig(cmd *cobra.Command) (hexrd.Config, error) {
	if err := beginAgain(); err != nil { // before standard input is read
		return hexrd.Config{}, err
	}
	if err := fillFlags(cmd.Flags(), os.Environ()); err != nil {
		return hexrd.Config{}, usageError(err)
	}
	get := func(name string) string { return cmd.Flag(name).Value.String() }
	log, err := newLogger(cmd.ErrOrStderr(), get("log-level"), get("log-format"))
	if err != nil {
		return hexrd.Config{}, usageError(err)
	}
	cfg := hexrd.Config{
		DataDir: get("data-dir"), WrapperKey: get("wrapper-key"), Bind: get("bind"), Advertise: get("advertise"),
		LogStore: get("log-store"), AdminSocket: get("admin-socket"), Logger: log, Version: version(),
		Identity: identity.Config{
			Socket: get("socket"), CertFile: get("cert"), KeyFile: get("key"), BundleFile: get("bundle"),
		},
	}
	cfg.Snapshots.Entries, _ = cmd.Flags().GetUint64("snapshot-entries")
	cfg.Snapshots.Trailing, _ = cmd.Flags().GetUint64("trailing-entries")
	cfg.Snapshots.Interval, _ = cmd.Flags().GetDuration("snapshot-interval")
	if cfg.AdminSocket == "" {
		cfg.AdminSocket = filepath.Join(cfg.DataDir, "admin.sock")
	}
	if err := cfg.Validate(); err != nil {
		return hexrd.Config{}, usageError(err)
	}
	return cfg, nil
}

func newLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q: use debug, info, warn or error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	}
	return nil, fmt.Errorf("log format %q: use json or text", format)
}

func readToken(stdin io.Reader, file string) (string, error) {
	var in io.Reader
	switch file {
	case "":
		return "", nil
	case "-":
		in = stdin
	default:
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("read join token: %w", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxTokenFile+1))
	if err != nil {
		return "", fmt.Errorf("read join token: %w", err)
	}
	if len(data) > maxTokenFile {
		return "", errors.New("read join token: the file is too long to be one")
	}
	return strings.TrimSpace(string(data)), nil
}

// runNode runs a node until SIGTERM, SIGINT or a failure of its own.
func runNode(ctx context.Context, cfg hexrd.Config) error {
	if err := protectProcess(); err != nil {
		return fmt.Errorf("protect the process: %w", err)
	}
	collectLater()
	quiet.Process(cfg.Logger)
	dumpStacks(os.Stderr)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	server, err := hexrd.Open(ctx, cfg)
	if err != nil {
		return err
	}
	cfg.Logger.Info("node runs", "node", server.NodeID(), "address", server.Addr())
	err = server.Wait(ctx)
	if err != nil {
		cfg.Logger.Error("node ended by itself: a restart is safe", "error", err)
	}
	return errors.Join(err, closeServer(context.WithoutCancel(ctx), server))
}

// closeServer does not wait for ever for what hangs: a disk, or a part of the
// node that has panicked.
func closeServer(ctx context.Context, server *hexrd.Server) error {
	polite, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- server.Close(polite) }()
	select {
	case err := <-closed:
		return err
	case <-time.After(stopTimeout + forceAfter):
		return errors.New("the node did not stop in time, and is ended: a restart is safe")
	}
}
