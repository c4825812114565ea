package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/hexrdev/hexrd/client"
)

func newExecCommand() *cobra.Command {
	var envs []string
	cmd := &cobra.Command{
		Use:   "exec --env NAME=PATH... -- CMD [ARG...]",
		Short: "Run a program that only knows environment variables",
		Long: `Read secrets, put them into environment variables, and become CMD.

An environment is seen by every process of the same user and by root
(/proc/PID/environ), is inherited by what CMD starts, and may end up in its crash
reports. Prefer a program that reads its secrets with the SDK.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(cmd, func(ctx context.Context, c *client.Client) error {
				return become(ctx, c, envs, args)
			})
		},
	}
	cmd.Flags().StringArrayVar(&envs, "env", nil, "NAME=PATH; can be repeated")
	return cmd
}

func become(ctx context.Context, c *client.Client, envs, args []string) error {
	program, err := exec.LookPath(args[0])
	if err != nil {
		return usageError(err)
	}
	var names, paths []string
	for _, e := range envs {
		name, path, ok := strings.Cut(e, "=")
		if !ok || name == "" || path == "" {
			return usageError(errors.New("--env: use NAME=PATH"))
		}
		names, paths = append(names, name), append(paths, path)
	}
	environ := os.Environ()
	if len(paths) > 0 {
		results, err := c.BatchGet(ctx, paths, "")
		if err != nil {
			return err
		}
		for i, r := range results {
			if r.Err != nil {
				return fmt.Errorf("%s: %w", names[i], r.Err)
			}
			if strings.ContainsRune(r.Secret.Text(), 0) {
				return fmt.Errorf("%s: the value holds a zero byte, an environment can't", names[i])
			}
			environ = append(environ, names[i]+"="+r.Secret.Text())
		}
	}
	return syscall.Exec(program, args, environ)
}
