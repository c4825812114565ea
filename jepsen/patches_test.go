package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

var patched = regexp.MustCompile(`(?m)^\+\+\+ b/(\S+)`)

// TestPatchesBuild: deliberate and known bugs are looked for by targets that few run;
// what they are made with must not rot until then.
func TestPatchesBuild(t *testing.T) {
	patches, err := filepath.Glob("*/*.patch")
	if err != nil || len(patches) == 0 {
		t.Fatalf("no patches: %v", err)
	}
	for _, patch := range patches {
		t.Run(patch, func(t *testing.T) {
			overlay, packages := applied(t, patch)
			build := exec.CommandContext(t.Context(), "go", append([]string{"build", "-overlay", overlay}, packages...)...)
			build.Dir = ".."
			if out, err := build.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// applied gives the go command a patch's files in place of the tree's, and names their packages.
func applied(t *testing.T, patch string) (overlay string, packages []string) {
	t.Helper()
	content, err := os.ReadFile(patch)
	must(t, err)
	root, err := filepath.Abs("..")
	must(t, err)
	copied, replace := t.TempDir(), map[string]string{}
	for _, m := range patched.FindAllStringSubmatch(string(content), -1) {
		file := filepath.Join(copied, m[1])
		must(t, os.MkdirAll(filepath.Dir(file), 0o700))
		if source, err := os.ReadFile(filepath.Join(root, m[1])); err == nil { // else the patch makes it
			must(t, os.WriteFile(file, source, 0o600))
		}
		replace[filepath.Join(root, m[1])] = file
		packages = append(packages, "./"+filepath.Dir(m[1]))
	}
	apply := exec.CommandContext(t.Context(), "git", "apply", "-")
	apply.Dir, apply.Stdin = copied, bytes.NewReader(content)
	if out, err := apply.CombinedOutput(); err != nil {
		t.Fatalf("it does not apply any more: make it anew for what the code is now: %v\n%s", err, out)
	}
	files, err := json.Marshal(map[string]any{"Replace": replace})
	must(t, err)
	overlay = filepath.Join(copied, "overlay.json")
	must(t, os.WriteFile(overlay, files, 0o600))
	return overlay, packages
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
