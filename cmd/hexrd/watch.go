package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
)

func newWatchCommand() *cobra.Command {
	var path, after string
	var bookmarks bool
	cmd := &cobra.Command{
		Use:   "watch [PREFIX]",
		Short: "Show what changes, never values, until it is interrupted",
		Long: `Show what changes in the scopes that the caller may read, never values, until it
is interrupted. When a node goes away it goes on at another, without a gap. With
--after CURSOR it begins behind an event seen before; "resync" says that what lies
behind it is not kept any more.`,
		Args: cobra.MaximumNArgs(1),
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
				opts := client.WatchOptions{Prefix: strings.Join(args, ""), Path: path, Scope: scope, After: after}
				err = c.Watch(ctx, opts, func(e *hexrv1.WatchEvent) error {
					kind := strings.ToLower(e.GetType().String())
					if kind == "bookmark" && !bookmarks {
						return nil
					}
					return o.one(e, "%s  %-9s  %s  version %d  %s  (%s)",
						when(e.GetTime()), kind, e.GetPath(), e.GetVersion(), e.GetScope(), e.GetCursor())
				})
				if errors.Is(err, context.Canceled) && ctx.Err() != nil {
					return nil // interrupted
				}
				return err
			})
		},
	}
	addScopeFlags(cmd)
	cmd.Flags().StringVar(&path, "path", "", "exactly this path, in place of a prefix")
	cmd.Flags().StringVar(&after, "after", "", "the cursor of an event seen before; none: from now on")
	cmd.Flags().BoolVar(&bookmarks, "bookmarks", false, "also show how far it has come, every 2 s")
	return cmd
}
