// Package client is the Go SDK of hexrd. Dial needs nothing but the environment
// of an agent: HEXR_ADDR (addresses of nodes, comma-separated) and
// SPIFFE_ENDPOINT_SOCKET (the SPIFFE Workload API).
//
//	c, err := client.Dial(ctx, client.Config{})
//	secret, err := c.Get(ctx, "api-keys/openai")
//	use(secret.Reveal())
//
// Any node answers any call: the client moves on when one does not, within the
// context's deadline, and repeats a mutation under the same request id.
package client
