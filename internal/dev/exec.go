package dev

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Environment variables that Exec sets.
const (
	envSocket   = "SPIFFE_ENDPOINT_SOCKET"
	envAddr     = "HEXR_ADDR"
	envVaultURL = "HEXR_VAULT_URL"
	envCAFile   = "HEXR_CA_FILE"
)

// ExecConfig is a program to run with an identity of a dev cluster.
type ExecConfig struct {
	Dir     string
	ID      string // see ParseID
	SVIDTTL time.Duration
	Command []string
	Logger  *slog.Logger
}

// Exec runs the program with a Workload API of its own that serves the identity,
// and returns its exit code. It waits for the cluster to be ready.
func Exec(ctx context.Context, c ExecConfig) (int, error) {
	if len(c.Command) == 0 {
		return 0, errors.New("no command: `hexrd dev exec ID -- CMD ...`")
	}
	control, err := Find(ctx, c.Dir)
	if err != nil {
		return 0, err
	}
	nodes, err := control.Ready(ctx)
	if err != nil {
		return 0, err
	}
	run, err := os.MkdirTemp("", "hexrd-") // short, and 0700
	if err != nil {
		return 0, fmt.Errorf("make a directory for the socket: %w", err)
	}
	defer func() { _ = os.RemoveAll(run) }()
	issue, err := issuer(c.Dir, c.ID, c.SVIDTTL)
	if err != nil {
		return 0, err
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	api, err := ServeWorkload(ctx, filepath.Join(run, "api.sock"), issue, c.Logger)
	if err != nil {
		return 0, err
	}
	defer func() { _ = api.Close() }()
	return runProgram(c.Command, environment(api, nodes, Layout{c.Dir}.Bundle()))
}

func environment(api *WorkloadServer, nodes []NodeInfo, bundle string) []string {
	var addrs []string
	vault := ""
	for _, n := range nodes {
		addrs = append(addrs, n.Address)
		if vault == "" && n.State == "running" {
			vault = "https://" + n.Address
		}
	}
	if abs, err := filepath.Abs(bundle); err == nil {
		bundle = abs
	}
	return []string{
		envSocket + "=" + api.Address(), envAddr + "=" + strings.Join(addrs, ","),
		envVaultURL + "=" + vault, envCAFile + "=" + bundle,
	}
}

// runProgram passes signals on, and returns the exit code; 128 and the signal's
// number where one ended it, as shells do.
func runProgram(command, env []string) (int, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), env...)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("run the command: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case sig := <-signals:
			_ = cmd.Process.Signal(sig)
		case err := <-ended:
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				return 0, err
			}
			if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
				return 128 + int(ws.Signal()), nil
			}
			return exit.ExitCode(), nil
		}
	}
}
