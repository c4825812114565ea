// Package report shows what a run did and found: a page for each run, and one for
// the campaign, without anything to load from elsewhere.
package report

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hexrdev/hexrd/jepsen/check"
	"github.com/hexrdev/hexrd/jepsen/history"
	"github.com/hexrdev/hexrd/jepsen/nemesis"
)

// Run is all that there is to tell of a run.
type Run struct {
	Number  int             `json:"number"`
	Seed    uint64          `json:"seed"`
	Title   string          `json:"title"`
	Begun   time.Time       `json:"begun"`
	Replay  string          `json:"replay"` // the command that does it again
	Left    []string        `json:"left_out,omitempty"`
	Results []check.Result  `json:"results"`
	Events  []nemesis.Event `json:"events"`
	Ops     []history.Op    `json:"-"`
	Figures Figures         `json:"figures"`
}

// Figures are a run in numbers.
type Figures struct {
	Took       time.Duration    `json:"took"`
	Operations int              `json:"operations"`
	Decided    int              `json:"decided"`
	Rows       int              `json:"rows"`
	Faults     map[string]int   `json:"faults"`
	Failed     int              `json:"faults_that_failed"` // to be injected as they were meant
	Outcomes   map[string]int   `json:"outcomes"`           // by kind and outcome
	Gap        time.Duration    `json:"longest_gap"`        // without a decided operation
	Latency    [3]time.Duration `json:"latency"`            // of decided ones: median, 99 %, longest
}

// Share of the operations that were decided, in per cent.
func (f Figures) Share() float64 { return 100 * float64(f.Decided) / float64(max(f.Operations, 1)) }

// OK reports whether no checker found anything.
func (r *Run) OK() bool {
	for i := range r.Results {
		if !r.Results[i].OK() {
			return false
		}
	}
	return true
}

// Count computes the figures.
func (r *Run) Count() {
	f := Figures{Faults: map[string]int{}, Outcomes: map[string]int{}}
	var ends, latencies []time.Duration
	for i := range r.Ops {
		o := &r.Ops[i]
		f.Operations++
		f.Outcomes[o.Kind+" "+string(o.Outcome)]++
		f.Took = max(f.Took, o.End)
		if o.Decided() {
			f.Decided++
			ends = append(ends, o.End)
			latencies = append(latencies, o.End-o.Start)
		}
	}
	slices.Sort(ends)
	for i := 1; i < len(ends); i++ {
		f.Gap = max(f.Gap, ends[i]-ends[i-1])
	}
	if slices.Sort(latencies); len(latencies) > 0 {
		f.Latency = [3]time.Duration{latencies[len(latencies)/2], latencies[len(latencies)*99/100], latencies[len(latencies)-1]}
	}
	for _, e := range r.Events {
		f.Faults[e.Name]++
		if e.Error != "" {
			f.Failed++
		}
	}
	for _, c := range r.Results {
		if c.Name == "audit" {
			f.Rows = c.Checked
		}
	}
	r.Figures = f
}

//go:embed page.html
var page string

// Write writes the page, and the same as JSON beside it.
func (r *Run) Write(file string) error {
	r.Count()
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), "report.json"), append(data, '\n'), 0o600); err != nil {
		return err
	}
	t, err := template.New("page").Funcs(template.FuncMap{"round": round, "second": second}).Parse(page)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := t.Execute(f, map[string]any{"Run": r, "Chart": chart(r)}); err != nil {
		_ = f.Close()
		return fmt.Errorf("report: %w", err)
	}
	return f.Close()
}

func round(d time.Duration) time.Duration {
	switch {
	case d > 10*time.Second:
		return d.Round(100 * time.Millisecond)
	case d > 100*time.Millisecond:
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}

func second(d time.Duration) string { return fmt.Sprintf("%.1f", d.Seconds()) }
