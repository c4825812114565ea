package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexrdev/hexrd/client"
)

// clientCommand is a verb that calls the cluster once.
func clientCommand(use, short string, args cobra.PositionalArgs, do func(ctx context.Context, o output, c *client.Client, args []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(cmd, func(ctx context.Context, c *client.Client) error {
				o, err := outputOf(cmd)
				if err != nil {
					return err
				}
				return do(ctx, o, c, args)
			})
		},
	}
}

func newStatusCommand() *cobra.Command {
	return clientCommand("status", "Show where the node that answers stands", cobra.NoArgs,
		func(ctx context.Context, o output, c *client.Client, _ []string) error {
			s, err := c.Status(ctx)
			if err != nil {
				return err
			}
			return o.one(s, "cluster   %s\nnode      %s (%s, ready: %t)\nleader    %s\nterm      %d\nlog       %d, applied %d (%s)\n"+
				"time      %s\naudit     %d rows\ndisk      %s, %d of %d MiB free\nversion   %s",
				s.GetClusterId(), s.GetNode(), s.GetRole(), s.GetReady(), s.GetLeader(), s.GetTerm(), s.GetLastIndex(), s.GetApplied(),
				s.GetLogStore(), when(s.GetTime()), s.GetAuditSize(), s.GetDisk(), s.GetDiskFreeBytes()>>20, s.GetDiskTotalBytes()>>20, s.GetVersion())
		})
}

func newMembersCommand() *cobra.Command {
	cmd := clientCommand("members", "List the members: who leads, who lags, how many failures can be borne", cobra.NoArgs,
		func(ctx context.Context, o output, c *client.Client, _ []string) error {
			m, err := c.Members(ctx)
			if err != nil {
				return err
			}
			t := o.table("NODE\tADDRESS\tSUFFRAGE\tSTATE\tAPPLIED\tLAG\tDISK\tVERSION")
			for _, n := range m.GetMembers() {
				if err := t.row(n, n.GetId(), n.GetAddress(), n.GetSuffrage(), n.GetState(), n.GetApplied(), n.GetLag(), n.GetDisk(), n.GetVersion()); err != nil {
					return err
				}
			}
			if err := t.end(); err != nil || o.json {
				return err
			}
			leader := m.GetLeader()
			if leader == "" {
				leader = "nobody"
			}
			_, err = fmt.Fprintf(o.w, "%s leads; %d more failures can be borne\n", leader, m.GetFailuresBorne())
			return err
		})
	cmd.AddCommand(
		clientCommand("remove NODE-ID", "Take a node out of the cluster for good", cobra.ExactArgs(1),
			func(ctx context.Context, _ output, c *client.Client, args []string) error {
				return c.RemoveMember(ctx, args[0])
			}),
		clientCommand("transfer [NODE-ID]", "Move leadership to a voter, or to the most up to date one", cobra.MaximumNArgs(1),
			func(ctx context.Context, o output, c *client.Client, args []string) error {
				to := ""
				if len(args) == 1 {
					to = args[0]
				}
				leader, err := c.TransferLeadership(ctx, to)
				if err != nil {
					return err
				}
				if o.json {
					return o.object(map[string]string{"leader": leader})
				}
				_, err = fmt.Fprintf(o.w, "%s leads\n", leader)
				return err
			}),
	)
	return cmd
}

func newTokenCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Tokens that let new nodes join"}
	var ttl time.Duration
	create := clientCommand("create NODE-ID", "Make a join token for a node ID; it is shown once", cobra.ExactArgs(1),
		func(ctx context.Context, o output, c *client.Client, args []string) error {
			t, err := c.CreateToken(ctx, args[0], ttl)
			if err != nil {
				return err
			}
			return o.one(t, "%s", t.GetToken())
		})
	create.Flags().DurationVar(&ttl, "ttl", time.Hour, "how long it may be used, at most 24h")
	cmd.AddCommand(create,
		clientCommand("list", "List join tokens, without their secret", cobra.NoArgs,
			func(ctx context.Context, o output, c *client.Client, _ []string) error {
				tokens, err := c.ListTokens(ctx)
				if err != nil {
					return err
				}
				t := o.table("ID\tNODE\tCREATED\tEXPIRES\tUSED")
				for _, k := range tokens {
					if err := t.row(k, k.GetId(), k.GetNodeId(), when(k.GetCreatedAt()), when(k.GetExpiresAt()), k.GetUsed()); err != nil {
						return err
					}
				}
				return t.end()
			}),
		clientCommand("revoke ID", "Make a join token useless", cobra.ExactArgs(1),
			func(ctx context.Context, _ output, c *client.Client, args []string) error {
				return c.RevokeToken(ctx, args[0])
			}),
	)
	return cmd
}

func newSettingsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "settings", Short: "The cluster's settings"}
	cmd.AddCommand(
		clientCommand("get", "Show all settings", cobra.NoArgs,
			func(ctx context.Context, o output, c *client.Client, _ []string) error {
				s, err := c.Settings(ctx)
				if err != nil {
					return err
				}
				return o.pairs(s)
			}),
		clientCommand("set NAME VALUE", "Change a setting", cobra.ExactArgs(2),
			func(ctx context.Context, o output, c *client.Client, args []string) error {
				s, err := c.SetSetting(ctx, args[0], args[1])
				if err != nil {
					return err
				}
				return o.pairs(map[string]string{args[0]: s[args[0]]})
			}),
	)
	return cmd
}

func newBlockCommand() *cobra.Command {
	cmd := clientCommand("block SUBJECT", "Refuse a SPIFFE ID, agent/TENANT/AGENT or agent/TENANT from now on", cobra.ExactArgs(1),
		func(ctx context.Context, _ output, c *client.Client, args []string) error {
			return c.Block(ctx, args[0])
		})
	cmd.AddCommand(clientCommand("list", "List who is blocked", cobra.NoArgs,
		func(ctx context.Context, o output, c *client.Client, _ []string) error {
			subjects, err := c.Blocks(ctx)
			if err != nil {
				return err
			}
			for _, s := range subjects {
				if o.json {
					err = o.object(map[string]string{"subject": s})
				} else {
					_, err = fmt.Fprintln(o.w, s)
				}
				if err != nil {
					return err
				}
			}
			return nil
		}))
	return cmd
}

func newUnblockCommand() *cobra.Command {
	return clientCommand("unblock SUBJECT", "Take a block back", cobra.ExactArgs(1),
		func(ctx context.Context, _ output, c *client.Client, args []string) error {
			return c.Unblock(ctx, args[0])
		})
}
