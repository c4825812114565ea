package arena

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Build makes the binary under test, with the points and the clock of package
// internal/fault in it. It needs the module's source.
func Build(ctx context.Context, to string) error {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the module: run this in its directory, or give a binary: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "hexrdfault", "-o", to, "./cmd/hexrd")
	cmd.Dir = strings.TrimSpace(string(root))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build hexrd: %w: %s", err, out)
	}
	return nil
}
