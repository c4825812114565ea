package arena

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// FaultTag builds hexrd with the points and the clock of internal/fault in it.
const FaultTag = "hexrdfault"

// Build makes the binary under test, with build tags or none. It needs the
// module's source.
func Build(ctx context.Context, to, tags string) error {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the module: run this in its directory, or give a binary: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", tags, "-o", to, "./cmd/hexrd")
	cmd.Dir = strings.TrimSpace(string(root))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build hexrd: %w: %s", err, out)
	}
	return nil
}
