package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

func newLeaveCommand() *cobra.Command {
	var dir, socket string
	cmd := &cobra.Command{
		Use:   "leave",
		Short: "Take the node of this machine out of its cluster, for good",
		Long: `Take the node that runs on this machine out of its cluster, for good.

Leadership moves on first, the departure is recorded in the audit, and raft
forgets the node; its process ends then. Its ID never gets the keyring again: a
machine that comes back does so under a new node ID, with an empty directory.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if socket == "" {
				socket = filepath.Join(dir, "admin.sock")
			}
			return leave(cmd.Context(), socket)
		},
	}
	cmd.Flags().StringVar(&dir, "data-dir", "/var/lib/hexrd", "the node's data directory")
	cmd.Flags().StringVar(&socket, "admin-socket", "", "the node's admin socket (default: admin.sock in the data directory)")
	return cmd
}

func leave(ctx context.Context, socket string) error {
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://node/leave", nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return fmt.Errorf("no node answers on its admin socket %s: run this on the node's machine, as its user: %w", socket, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return errors.New(strings.TrimSpace(string(text)))
	}
	return nil
}
