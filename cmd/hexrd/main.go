// Command hexrd runs nodes of a hexrd cluster, and is its command line.
package main

import (
	"context"
	"os"
)

func main() {
	quietLibraries()
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
