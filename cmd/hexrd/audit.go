package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
)

func newAuditCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "Look at and verify the record of every access"}
	cmd.AddCommand(newAuditQueryCommand(), newAuditTailCommand(), newAuditVerifyCommand(), newAuditCheckpointCommand())
	return cmd
}

const auditHead = "INDEX\tTIME\tNODE\tCALLER\tOPERATION\tPATH\tOUTCOME\tVERSION\tDETAIL"

func auditRow(t *table, r *hexrv1.AuditRow) error {
	return t.row(r, r.GetIndex(), when(r.GetTime()), r.GetNode(), r.GetCaller(), r.GetOperation(), r.GetPath(),
		r.GetOutcome(), r.GetVersion(), r.GetDetail())
}

func newAuditQueryCommand() *cobra.Command {
	req := &hexrv1.QueryRequest{PageSize: 1000}
	var since, until string
	var limit int
	cmd := &cobra.Command{
		Use: "query", Short: "List audit rows", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err1, err2 error
			req.Since, err1 = parseTime(since)
			req.Until, err2 = parseTime(until)
			if err := errors.Join(err1, err2); err != nil {
				return usageError(err)
			}
			return withClient(cmd, func(ctx context.Context, c *client.Client) error {
				o, err := outputOf(cmd)
				if err != nil {
					return err
				}
				t := o.table(auditHead)
				n := 0
				for r, err := range c.AuditQuery(ctx, req) {
					if err != nil {
						return err
					}
					if err := auditRow(t, r); err != nil {
						return err
					}
					if n++; limit > 0 && n >= limit {
						break
					}
				}
				return t.end()
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&since, "since", "", "RFC 3339, or a duration back from now such as 1h")
	f.StringVar(&until, "until", "", "RFC 3339, or a duration back from now")
	f.StringVar(&req.Caller, "caller", "", "SPIFFE ID")
	f.StringVar(&req.Path, "path", "", "a secret's path")
	f.StringVar(&req.Outcome, "outcome", "", "granted, denied, not_found, ...")
	f.StringVar(&req.Operation, "operation", "", "get, put, member.join, ...")
	f.IntVar(&limit, "limit", 0, "rows at most; 0: all")
	return cmd
}

func parseTime(s string) (*timestamppb.Timestamp, error) {
	if s == "" {
		return nil, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return timestamppb.New(time.Now().Add(-d)), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return nil, fmt.Errorf("time %q: use RFC 3339, or a duration such as 1h", s)
	}
	return timestamppb.New(t), nil
}

func newAuditTailCommand() *cobra.Command {
	req := &hexrv1.TailRequest{}
	var from int64
	cmd := &cobra.Command{
		Use: "tail", Short: "Show audit rows as they are appended, until Ctrl-C", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from >= 0 {
				n := uint64(from)
				req.From = &n
			}
			return withClient(cmd, func(ctx context.Context, c *client.Client) error {
				o, err := outputOf(cmd)
				if err != nil {
					return err
				}
				err = c.AuditTail(ctx, req, func(r *hexrv1.AuditRow) error {
					t := o.table("")
					if o.json {
						return auditRow(t, r)
					}
					_, err := fmt.Fprintf(o.w, "%d  %s  %s  %s  %s  %s  %s\n", r.GetIndex(), when(r.GetTime()), r.GetNode(),
						r.GetCaller(), r.GetOperation(), r.GetPath(), r.GetOutcome())
					return err
				})
				if ctx.Err() != nil {
					return nil // Ctrl-C is how it ends
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&req.Caller, "caller", "", "SPIFFE ID")
	cmd.Flags().Int64Var(&from, "from", -1, "first row; default: only new ones")
	return cmd
}

func newAuditVerifyCommand() *cobra.Command {
	var seen string
	var missing bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Recompute the audit tree and compare the roots of all nodes",
		Long: `Recompute the audit tree here, from all rows, and compare it with the root that
each node claims. With --checkpoint, a file that ` + "`hexrd audit checkpoint`" + ` wrote
before, it proves that nothing up to there was changed or lost: a majority of who
was a member then must have signed it. It fails on any difference.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := outputOf(cmd)
			if err != nil {
				return err
			}
			v := &verification{allowMissing: missing}
			if seen != "" {
				if err := v.load(seen); err != nil {
					return err
				}
			}
			err = withClient(cmd, func(ctx context.Context, c *client.Client) error { return v.run(ctx, c) })
			if err != nil {
				return err
			}
			return v.show(o)
		},
	}
	cmd.Flags().StringVar(&seen, "checkpoint", "", "a signed checkpoint that was kept")
	cmd.Flags().BoolVar(&missing, "allow-missing", false, "a node that gives no root is no failure")
	return cmd
}

func newAuditCheckpointCommand() *cobra.Command {
	cmd := clientCommand("checkpoint", "Print a checkpoint of the audit, signed by a majority of the members", cobra.NoArgs,
		func(ctx context.Context, o output, c *client.Client, _ []string) error {
			resp, err := c.AuditCheckpoint(ctx)
			if err != nil {
				return err
			}
			if o.json {
				return o.object(hexrv1.ToJSON(resp))
			}
			_, err = fmt.Fprint(o.w, resp.GetCheckpoint())
			return err
		})
	cmd.Long = `Print a checkpoint: how many audit rows there are and the root of their tree, with
the signatures of more than half of the members. Keep it where the nodes can't
reach it; ` + "`hexrd audit verify --checkpoint FILE`" + ` proves later that nothing before
it was changed or lost.`
	return cmd
}
