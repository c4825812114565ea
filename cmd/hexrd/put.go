package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/hexrdev/hexrd/client"
)

const maxValue = 1 << 20

func newPutCommand() *cobra.Command {
	var file string
	var labels []string
	var expected int64
	var rotation string
	cmd := &cobra.Command{
		Use:   "put PATH",
		Short: "Write the next version of a secret",
		Long: `Write the next version of a secret. The value is read from --file, from standard
input, or on a terminal from a prompt that does not echo: never from an argument,
which other users could see.`,
		Args: onePath,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := outputOf(cmd)
			if err != nil {
				return err
			}
			opts, err := putOptions(labels, expected)
			if err != nil {
				return err
			}
			if opts.Rotation, err = rotationOf(rotation); err != nil {
				return err
			}
			value, err := readValue(cmd, file)
			if err != nil {
				return err
			}
			return withClient(cmd, func(ctx context.Context, c *client.Client) error {
				if opts.Scope, err = scopeOf(ctx, cmd, c); err != nil {
					return err
				}
				resp, err := c.Put(ctx, args[0], value, opts)
				if err != nil {
					return err
				}
				return o.one(resp, "%s: version %d in %s", resp.GetPath(), resp.GetVersion(), resp.GetScope())
			})
		},
	}
	addScopeFlags(cmd)
	cmd.Flags().StringVar(&file, "file", "", "file with the value")
	cmd.Flags().StringArrayVar(&labels, "label", nil, "metadata as NAME=VALUE; not secret; can be repeated")
	cmd.Flags().Int64Var(&expected, "expected-version", -1, "the version that must be the latest; 0: there is none")
	cmd.Flags().StringVar(&rotation, "rotation", "", "time between rotations, such as 90d; 0s: no schedule; none: as it was")
	return cmd
}

func onePath(_ *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return usageError(errors.New("name the secret's path"))
	case 1:
		return nil
	}
	return usageError(errors.New("one path only; a value is never an argument: give it with --file or on standard input"))
}

func putOptions(labels []string, expected int64) (client.PutOptions, error) {
	o := client.PutOptions{}
	for _, l := range labels {
		name, value, ok := strings.Cut(l, "=")
		if !ok || name == "" {
			return o, usageError(errors.New("--label: use NAME=VALUE"))
		}
		if o.Metadata == nil {
			o.Metadata = map[string]string{}
		}
		o.Metadata[name] = value
	}
	if expected >= 0 {
		v := uint64(expected)
		o.Expected = &v
	}
	return o, nil
}

func readValue(cmd *cobra.Command, file string) ([]byte, error) {
	in := cmd.InOrStdin()
	if f, ok := in.(*os.File); ok && file == "" && term.IsTerminal(int(f.Fd())) {
		_, _ = fmt.Fprint(cmd.ErrOrStderr(), "Value (not shown): ")
		value, err := term.ReadPassword(int(f.Fd()))
		_, _ = fmt.Fprintln(cmd.ErrOrStderr())
		return value, err
	}
	if file != "" && file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read value: %w", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	value, err := io.ReadAll(io.LimitReader(in, maxValue+1))
	if err != nil {
		return nil, fmt.Errorf("read value: %w", err)
	}
	if len(value) > maxValue {
		return nil, usageError(fmt.Errorf("the value is larger than %d bytes", maxValue))
	}
	return value, nil
}

// Scopes: --scope as it is, or for provisioners and operators the short forms
// --agent TENANT/AGENT and --tenant TENANT.
func addScopeFlags(cmd *cobra.Command) {
	cmd.Flags().String("scope", "", "a process of the agent, or a full scope")
	cmd.Flags().String("agent", "", "TENANT/AGENT: the agent's scope")
	cmd.Flags().String("tenant", "", "TENANT: the whole tenant's scope")
	cmd.MarkFlagsMutuallyExclusive("scope", "agent", "tenant")
}

func scopeOf(ctx context.Context, cmd *cobra.Command, c *client.Client) (string, error) {
	get := func(name string) string { return cmd.Flag(name).Value.String() }
	short := get("tenant")
	if a := get("agent"); a != "" {
		if strings.Count(a, "/") != 1 {
			return "", usageError(errors.New("--agent: use TENANT/AGENT"))
		}
		short = a
	}
	if short == "" {
		return get("scope"), nil
	}
	who, err := c.WhoAmI(ctx)
	if err != nil {
		return "", err
	}
	domain, _, _ := strings.Cut(strings.TrimPrefix(who.GetSpiffeId(), "spiffe://"), "/")
	return "spiffe://" + domain + "/agent/" + short + "/*", nil
}
