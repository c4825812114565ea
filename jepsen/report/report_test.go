package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hexrdev/hexrd/jepsen/check"
	"github.com/hexrdev/hexrd/jepsen/history"
	"github.com/hexrdev/hexrd/jepsen/nemesis"
)

func TestPages(t *testing.T) {
	dir := t.TempDir()
	r := &Run{
		Number: 3, Seed: 9, Replay: "go run ./jepsen -seed 9 -from 3",
		Results: []check.Result{{Name: "audit", Checked: 7}, {Name: "register", Problems: []string{"<a> is no register"}}},
		Events:  []nemesis.Event{{Name: "kill-one", Class: "process", Detail: "n1", Start: time.Second, End: 2 * time.Second}},
		Ops: []history.Op{
			{Kind: "get", Outcome: history.OK, Start: time.Second, End: 2 * time.Second},
			{Kind: "put", Outcome: history.Unknown, Start: time.Second, End: 5 * time.Second},
			{Kind: "put", Outcome: history.Refused, Start: time.Second, End: 3 * time.Second},
		},
	}
	if err := r.Write(filepath.Join(dir, "report.html")); err != nil {
		t.Fatal(err)
	}
	if err := WriteCampaign(filepath.Join(dir, "index.html"), []*Run{r}); err != nil {
		t.Fatal(err)
	}
	for file, holds := range map[string][]string{
		"report.html": {"it found something", "&lt;a&gt; is no register", "-from 3", "kill-one", `class="unknown"`, "<svg"},
		"report.json": {`"replay": "go run`, `"decided": 1`, `"rows": 7`},
		"index.html":  {"1 found something", "run-9-3/report.html"},
	} {
		data, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range holds {
			if !strings.Contains(string(data), want) {
				t.Errorf("%s does not hold %q", file, want)
			}
		}
	}
}
