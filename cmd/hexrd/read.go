package main

import (
	"context"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
)

func newGetCommand() *cobra.Command {
	var version uint64
	cmd := &cobra.Command{
		Use: "get PATH", Short: "Read a secret's value", Args: onePath,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := outputOf(cmd)
			if err != nil {
				return err
			}
			return withClient(cmd, func(ctx context.Context, c *client.Client) error {
				s, err := c.Get(ctx, args[0], client.At{Scope: cmd.Flag("scope").Value.String(), Version: version})
				if err != nil {
					return err
				}
				if o.json {
					return o.object(map[string]any{
						"path": s.Path, "value": s.Text(), "version": s.Version, "scope": s.Scope, "metadata": s.Metadata,
						"created_at": s.CreatedAt,
					})
				}
				if _, err := o.w.Write(s.Reveal()); err != nil {
					return err
				}
				if f, ok := o.w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
					_, err = o.w.Write([]byte("\n"))
				}
				return err
			})
		},
	}
	cmd.Flags().String("scope", "", "a process of the agent, or a full scope")
	cmd.Flags().Uint64Var(&version, "version", 0, "a version; 0: the latest")
	return cmd
}

func newListCommand() *cobra.Command {
	var deleted, overdue bool
	cmd := &cobra.Command{
		Use: "list [PREFIX]", Short: "List secrets, never their values", Args: cobra.MaximumNArgs(1),
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
				t := o.table("PATH\tVERSION\tCREATED\tSCOPE")
				for s, err := range c.List(ctx, client.ListOptions{
					Prefix: strings.Join(args, ""), Scope: scope, PageSize: 1000, IncludeDeleted: deleted, Overdue: overdue,
				}) {
					if err != nil {
						return err
					}
					if err := t.row(s, s.GetPath(), s.GetVersion(), when(s.GetCreatedAt()), s.GetScope()); err != nil {
						return err
					}
				}
				return t.end()
			})
		},
	}
	addScopeFlags(cmd)
	cmd.Flags().BoolVar(&deleted, "deleted", false, "also those that can be undeleted")
	cmd.Flags().BoolVar(&overdue, "overdue", false, "only those whose rotation is overdue")
	return cmd
}

func newDescribeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "describe PATH", Short: "Show a secret's metadata", Args: onePath,
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
				s, err := c.Describe(ctx, args[0], scope)
				if err != nil {
					return err
				}
				return o.one(s, "path     %s\nscope    %s\nversion  %d\ncreated  %s\ndeleted  %s\nsize     %d bytes\nlabels   %v\nrotation %s",
					s.GetPath(), s.GetScope(), s.GetVersion(), when(s.GetCreatedAt()), when(s.GetDeletedAt()), s.GetSize(), s.GetMetadata(),
					rotationText(s))
			})
		},
	}
	addScopeFlags(cmd)
	return cmd
}

func newVersionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "versions PATH", Short: "List the versions that are kept", Args: onePath,
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
				resp, err := c.Versions(ctx, args[0], scope)
				if err != nil {
					return err
				}
				t := o.table("VERSION\tCREATED\tSIZE\tSTATE")
				for _, v := range resp.GetVersions() {
					if err := t.row(v, v.GetVersion(), when(v.GetCreatedAt()), v.GetSize(), versionState(v)); err != nil {
						return err
					}
				}
				return t.end()
			})
		},
	}
	addScopeFlags(cmd)
	return cmd
}

func versionState(v *hexrv1.VersionInfo) string {
	switch {
	case v.GetDestroyed():
		return "destroyed"
	case v.GetDeleted():
		return "deleted"
	case v.GetPending():
		return "pending"
	case v.GetExpiresAt() != nil:
		return "until " + when(v.GetExpiresAt())
	case v.GetCurrent():
		return "current"
	}
	return "live"
}

func newWhoAmICommand() *cobra.Command {
	return &cobra.Command{
		Use: "whoami", Short: "Show who the cluster takes this process for", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withClient(cmd, func(ctx context.Context, c *client.Client) error {
				o, err := outputOf(cmd)
				if err != nil {
					return err
				}
				w, err := c.WhoAmI(ctx)
				if err != nil {
					return err
				}
				return o.one(w, "%s\nclass    %s\nSVID     %s, until %s\nnode     %s\nscopes   %s",
					w.GetSpiffeId(), w.GetClass(), w.GetSvid(), when(w.GetExpiresAt()), w.GetNode(), strings.Join(w.GetScopes(), "\n         "))
			})
		},
	}
}
