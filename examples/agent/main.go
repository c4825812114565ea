// Command agent is an example of an agent that keeps its keys in hexrd. Run it
// with an identity:
//
//	hexrd dev exec acme/my-agent -- go run ./examples/agent
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/hexrdev/hexrd/client"
)

// keys is what the agent needs to work. It prints as [redacted].
type keys struct {
	OpenAI client.Value `hexr:"api-keys/openai"`
	Proxy  client.Value `hexr:"api-keys/proxy,optional"`
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	vault, err := client.Dial(ctx, client.Config{}) // HEXR_ADDR and SPIFFE_ENDPOINT_SOCKET
	if err != nil {
		return err
	}
	defer func() { _ = vault.Close() }()

	// One round trip; work does not run when a key is missing.
	err = client.With(ctx, vault, work)
	if errors.Is(err, client.ErrNotFound) {
		return fmt.Errorf("no key yet: `hexrd put api-keys/openai` stores one: %w", err)
	}
	if err != nil {
		return err
	}
	_, err = vault.Put(ctx, "notes/last-run", []byte(time.Now().UTC().Format(time.RFC3339)), client.PutOptions{})
	return err
}

func work(_ context.Context, k keys) error {
	fmt.Printf("working with a key of %d bytes: %v\n", len(k.OpenAI.Reveal()), k)
	return nil
}
