// Command hexrd runs nodes of a hexrd cluster, and is its command line.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/hexrdev/hexrd/internal/quiet"
)

func main() {
	quiet.Process(slog.New(slog.DiscardHandler)) // what matters comes back as errors
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
