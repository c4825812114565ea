package arena

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestUpgrade: nodes begin as the earlier version, here one that writes down that it was
// started; an upgraded one, and one that joins after that, are not.
func TestUpgrade(t *testing.T) {
	dir := t.TempDir()
	program, old, started := filepath.Join(dir, "hexrd"), filepath.Join(dir, "old"), filepath.Join(dir, "started")
	if err := Build(t.Context(), program, ""); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho >> " + started + "\nexec " + program + ` "$@"` + "\n"
	if err := os.WriteFile(old, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := Start(ctx, Config{Dir: filepath.Join(dir, "cluster"), Program: program, Old: old, Nodes: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	first := c.Members()[0]
	first.Stop()
	first.Upgrade()
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	if err := first.WaitHealthy(ctx); err != nil {
		t.Fatal(err)
	}
	if first.Outdated() || !c.Members()[1].Outdated() {
		t.Error("it is not the one that was upgraded")
	}
	if _, err := c.Join(ctx, ""); err != nil {
		t.Fatal(err)
	}
	c.UpgradeAll()
	if err := c.Recover(ctx); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Members() {
		if n.Outdated() {
			t.Errorf("%s is outdated", n.ID)
		}
	}
	lines, err := os.ReadFile(started)
	if err != nil || strings.Count(string(lines), "\n") != 2 {
		t.Errorf("the earlier version was started %d times: %v", strings.Count(string(lines), "\n"), err)
	}
}
