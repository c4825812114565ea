package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/hexrdev/hexrd/client"
)

// changeCommand is what delete, undelete and destroy share.
func changeCommand(use, short string, do func(ctx context.Context, o output, c *client.Client, path, scope string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: use + " PATH", Short: short, Args: onePath,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(cmd, func(ctx context.Context, c *client.Client) error {
				o, err := outputOf(cmd)
				if err != nil {
					return err
				}
				scope, err := scopeOf(ctx, cmd, c)
				if err != nil {
					return err
				}
				return do(ctx, o, c, args[0], scope)
			})
		},
	}
	addScopeFlags(cmd)
	return cmd
}

func newDeleteCommand() *cobra.Command {
	return changeCommand("delete", "Delete a secret; it can be undeleted for a while",
		func(ctx context.Context, o output, c *client.Client, path, scope string) error {
			resp, err := c.Delete(ctx, path, scope)
			if err != nil {
				return err
			}
			return o.one(resp, "%s: deleted; `hexrd undelete %s` takes it back", resp.GetPath(), resp.GetPath())
		})
}

func newUndeleteCommand() *cobra.Command {
	return changeCommand("undelete", "Take a delete back",
		func(ctx context.Context, o output, c *client.Client, path, scope string) error {
			resp, err := c.Undelete(ctx, path, scope)
			if err != nil {
				return err
			}
			return o.one(resp, "%s: version %d is back", resp.GetPath(), resp.GetVersion())
		})
}

func newDestroyCommand() *cobra.Command {
	var version uint64
	var all bool
	cmd := changeCommand("destroy", "Make a version, or all, unreadable for good",
		func(ctx context.Context, o output, c *client.Client, path, scope string) error {
			if all == (version != 0) {
				return usageError(errors.New("say --version N or --all"))
			}
			resp, err := c.Destroy(ctx, path, scope, version)
			if err != nil {
				return err
			}
			return o.one(resp, "%s: destroyed", resp.GetPath())
		})
	cmd.Flags().Uint64Var(&version, "version", 0, "the version to destroy")
	cmd.Flags().BoolVar(&all, "all", false, "destroy all versions")
	return cmd
}
