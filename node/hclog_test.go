package node

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// TestRaftEventsAreConstants: what passes of raft's log are texts that stand in
// its source as they are, so no data of a cluster is in them.
func TestRaftEventsAreConstants(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", "github.com/hashicorp/raft").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no sources of raft: %v", err)
	}
	texts := map[string]bool{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			method, ok1 := call.Fun.(*ast.SelectorExpr)
			text, ok2 := call.Args[0].(*ast.BasicLit)
			if ok1 && ok2 && (method.Sel.Name == "Info" || method.Sel.Name == "Warn" || method.Sel.Name == "Error") {
				s, _ := strconv.Unquote(text.Value)
				texts[s] = true
			}
			return true
		})
	}
	for _, event := range raftEvents {
		if !texts[event] {
			t.Errorf("raft does not say %q", event)
		}
	}
}

// TestPanicsEndTheNode: a panic while an entry is applied, or in a goroutine of
// the node, ends it with an error; the log holds nothing of the value.
func TestPanicsEndTheNode(t *testing.T) {
	const canary = "canary-7f3a"
	var log bytes.Buffer
	n := &Node{log: slog.New(slog.NewTextHandler(&log, nil)), done: make(chan struct{})}
	m := &machine{log: n.log, fail: n.fail} // no store: Apply panics
	if a, ok := m.Apply(&raft.Log{Data: []byte(canary)}).(applied); !ok || !errors.Is(a.err, ErrPanic) {
		t.Errorf("applied: %v", a)
	}
	if !errors.Is(n.Err(), ErrPanic) {
		t.Errorf("the node goes on: %v", n.Err())
	}
	if err := guarded(n.log, func() error { panic(canary) }); !errors.Is(err, ErrPanic) || strings.Contains(err.Error(), canary) {
		t.Error(err)
	}
	if strings.Contains(log.String(), canary) || !strings.Contains(log.String(), "(*machine).Apply") {
		t.Errorf("the log: %s", log.String())
	}
}
