package history

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestRecorderAndRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "history.jsonl")
	r, err := Create(file)
	if err != nil {
		t.Fatal(err)
	}
	expected := uint64(0)
	r.Add(Op{Kind: Put, Caller: "spiffe://td/agent/a/b/main", Path: "p", Expected: &expected, Start: r.Now(), End: r.Now(), Outcome: OK})
	r.Add(Op{Kind: List, Outcome: OK, Items: []Item{{Path: "p", Version: 1}}})
	ops, err := r.Close()
	if err != nil || len(ops) != 2 || ops[1].ID != 1 {
		t.Fatalf("%v, %v", ops, err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	again, err := Read(f)
	if err != nil || !reflect.DeepEqual(again, ops) {
		t.Errorf("%v, %v", again, err)
	}
	if _, err := Read(strings.NewReader("{}\n{")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("half a line: %v", err)
	}
}

func TestFullScope(t *testing.T) {
	for want, o := range map[string]Op{
		"spiffe://td/agent/a/b/*":     {},
		"spiffe://td/agent/a/b/other": {Scope: "other"},
		"spiffe://td/agent/x/*":       {Scope: "spiffe://td/agent/x/*"},
		"spiffe://td/agent/a/b/main":  {GotScope: "spiffe://td/agent/a/b/main"},
	} {
		o.Caller = "spiffe://td/agent/a/b/main"
		if got := o.FullScope(); got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
}
