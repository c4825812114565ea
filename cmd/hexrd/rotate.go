package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
)

func newRotateCommand() *cobra.Command {
	var grace, file, alphabet, verify, every string
	var length, keyBytes int
	var lease time.Duration
	cmd := &cobra.Command{
		Use:   "rotate PATH",
		Short: "Make a new version of a secret, test it, and make it the current one",
		Long: `Make a new version of a secret, test it, and make it the current one: until then
everybody reads the old version, which stays readable by its number for --grace.

The new value is random (--bytes, or --length and --alphabet), or read as put does.
--verify runs a command with the new value on its standard input; when it fails,
the new version is discarded. What a rotation that was interrupted has left is
finished, or discarded, by the next one.

With --every it only sets how often the secret is to be rotated; see list --overdue.`,
		Args: onePath,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := outputOf(cmd)
			if err != nil {
				return err
			}
			schedule, err := rotationOf(every)
			if err != nil {
				return err
			}
			opts := client.RotateOptions{Lease: lease}
			if opts.Grace, err = graceOf(grace); err != nil {
				return err
			}
			if verify != "" {
				opts.Verify = verifyBy(cmd, verify)
			}
			if schedule == nil {
				if opts.Generate, err = generator(cmd, file, alphabet, length, keyBytes); err != nil {
					return err
				}
			}
			return withClient(cmd, func(ctx context.Context, c *client.Client) error {
				if opts.Scope, err = scopeOf(ctx, cmd, c); err != nil {
					return err
				}
				if schedule != nil {
					resp, err := c.SetRotation(ctx, args[0], opts.Scope, *schedule)
					if err != nil {
						return err
					}
					return o.one(resp, "%s: due %s", resp.GetPath(), when(resp.GetRotationDueAt()))
				}
				return rotate(ctx, c, o, args[0], opts)
			})
		},
	}
	addScopeFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&grace, "grace", "", "how long the previous version stays readable, such as 1h or 7d (default 24h)")
	f.StringVar(&file, "file", "", "file with the value")
	f.IntVar(&keyBytes, "bytes", 0, "a random key of so many bytes, as URL-safe base64")
	f.IntVar(&length, "length", 0, "a random password of so many characters")
	f.StringVar(&alphabet, "alphabet", "", "characters of the password (default letters and digits)")
	f.StringVar(&verify, "verify", "", "shell command that tests the value on its standard input")
	f.DurationVar(&lease, "lease", 30*time.Second, "how long others wait when this one goes away in between; from 1s")
	f.StringVar(&every, "every", "", "only set the time between rotations, such as 90d; 0s: no schedule")
	cmd.MarkFlagsMutuallyExclusive("file", "bytes", "length", "every")
	return cmd
}

func rotate(ctx context.Context, c *client.Client, o output, path string, opts client.RotateOptions) error {
	done, err := c.Rotate(ctx, path, opts)
	if err != nil {
		return err
	}
	if o.json {
		return o.object(map[string]any{
			"path": done.Path, "scope": done.Scope, "version": done.Version, "previous": done.Previous,
			"previous_until": done.PreviousUntil, "resumed": done.Resumed,
		})
	}
	_, err = fmt.Fprintf(o.w, "%s: version %d is current in %s; version %d is readable until %s\n",
		done.Path, done.Version, done.Scope, done.Previous, done.PreviousUntil.Format(time.RFC3339))
	return err
}

// rotationOf reads a time between rotations; nil: it is not given.
func rotationOf(s string) (*time.Duration, error) {
	if s == "" {
		return nil, nil
	}
	d, err := hexrv1.ParseDuration(s)
	if err != nil {
		return nil, usageError(fmt.Errorf("rotation: %w", err))
	}
	return &d, nil
}

func graceOf(s string) (*time.Duration, error) {
	d, err := rotationOf(s)
	if err != nil {
		return nil, usageError(errors.New("--grace: use a time such as 1h or 7d"))
	}
	return d, nil
}

// rotationText is a secret's schedule for people.
func rotationText(s *hexrv1.SecretInfo) string {
	switch {
	case s.GetRotation() == nil:
		return "no schedule"
	case s.GetOverdue():
		return "every " + hexrv1.FormatDuration(s.GetRotation().AsDuration()) + ", overdue since " + when(s.GetRotationDueAt())
	}
	return "every " + hexrv1.FormatDuration(s.GetRotation().AsDuration()) + ", due " + when(s.GetRotationDueAt())
}

// generator is what makes the value; one that is given is read before anything
// is asked of the cluster.
func generator(cmd *cobra.Command, file, alphabet string, length, keyBytes int) (client.Generator, error) {
	switch {
	case keyBytes != 0:
		return client.Key(keyBytes), nil
	case length != 0:
		return client.Password(length, alphabet), nil
	case alphabet != "":
		return nil, usageError(errors.New("--alphabet goes with --length"))
	}
	value, err := readValue(cmd, file)
	return func(context.Context) ([]byte, error) { return value, nil }, err
}

// verifyBy runs a shell command with the value on its standard input. What it
// prints goes to standard error.
func verifyBy(cmd *cobra.Command, command string) func(context.Context, client.Secret) error {
	return func(ctx context.Context, s client.Secret) error {
		run := exec.CommandContext(ctx, "sh", "-c", command)
		run.Stdin, run.Stdout, run.Stderr, run.Env = bytes.NewReader(s.Reveal()), cmd.ErrOrStderr(), cmd.ErrOrStderr(), os.Environ()
		return run.Run()
	}
}
