package main

import (
	"context"
	"fmt"
	"os"

	"github.com/joho/godotenv"
	"github.com/spf13/cobra"

	"github.com/hexrdev/hexrd/client"
)

func newImportCommand() *cobra.Command {
	var prefix string
	var dry bool
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Put every variable of a .env file as a secret",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			values, err := godotenv.Parse(f)
			_ = f.Close()
			if err != nil {
				return fmt.Errorf("%s is not a .env file: nothing was imported", args[0]) // its text may quote a value
			}
			return withClient(cmd, func(ctx context.Context, c *client.Client) error {
				scope, err := scopeOf(ctx, cmd, c)
				if err != nil {
					return err
				}
				for _, name := range sortedKeys(values) {
					if dry {
						_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s: would be put\n", prefix+name)
						continue
					}
					resp, err := c.Put(ctx, prefix+name, []byte(values[name]), client.PutOptions{Scope: scope})
					if err != nil {
						return fmt.Errorf("%s: %w; what stands above was imported", prefix+name, err)
					}
					_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s: version %d\n", resp.GetPath(), resp.GetVersion())
				}
				return nil
			})
		},
	}
	addScopeFlags(cmd)
	cmd.Flags().StringVar(&prefix, "prefix", "", "put before each name, e.g. prod/")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show what would be put")
	return cmd
}
