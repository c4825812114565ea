package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"

	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/identity"
)

// jwtTimeout bounds the wait for a Workload API.
const jwtTimeout = 5 * time.Second

func newJWTCommand() *cobra.Command {
	var audience string
	cmd := &cobra.Command{
		Use:   "jwt",
		Short: "Print a JWT-SVID of this process, for HTTP clients without a certificate",
		Long: `Fetch a JWT-SVID from the SPIFFE Workload API and print it, for HTTP clients that
can present no certificate:

  printf 'header = "Authorization: Bearer %s"' "$(hexrd jwt)" |
    curl --config - --cacert "$HEXR_CA_FILE" "$HEXR_VAULT_URL/v1/secrets/k"

Whoever holds it is this agent until it ends: keep it out of files, logs and
arguments, which every user of the machine sees.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			token, err := fetchJWT(cmd.Context(), cmd.Flag("socket").Value.String(), audience)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		},
	}
	cmd.Flags().StringVar(&audience, "audience", identity.Audience, "who the token is for")
	return cmd
}

func fetchJWT(ctx context.Context, socket, audience string) (string, error) {
	cfg := identity.Config{Socket: socket}
	if err := cfg.Validate(); err != nil {
		return "", usageError(err)
	}
	ctx, cancel := context.WithTimeout(ctx, jwtTimeout)
	defer cancel()
	var options []workloadapi.ClientOption
	if socket != "" { // else the environment's
		options = append(options, workloadapi.WithAddr(socket))
	}
	svid, err := workloadapi.FetchJWTSVID(ctx, jwtsvid.Params{Audience: audience}, options...)
	if err != nil { // its text may quote the identity
		return "", fmt.Errorf("%w: the SPIFFE Workload API gives no JWT-SVID: is its agent running, and is this process registered?", client.ErrUnauthenticated)
	}
	return svid.Marshal(), nil
}
