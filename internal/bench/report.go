package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// reportMode: there is nothing in a report that others may not read.
const reportMode = 0o644

// Row of the report.
type Row struct {
	Name     string    `json:"name"`
	Value    float64   `json:"value"`
	Unit     string    `json:"unit"`
	Compared string    `json:"compared with,omitempty"`
	Ratio    *float64  `json:"ratio,omitempty"`
	Rounds   []float64 `json:"rounds,omitempty"` // whose median the ratio is, or the value where there is none
	Goal     string    `json:"goal,omitempty"`
	Met      *bool     `json:"met,omitempty"`
}

// atLeast and atMost set the goal of a row, for its ratio where it has one, else
// for its value.
func (r Row) atLeast(goal float64) Row { return r.goal("at least ", goal, r.measured() >= goal) }
func (r Row) atMost(goal float64) Row  { return r.goal("at most ", goal, r.measured() <= goal) }

func (r Row) goal(words string, goal float64, met bool) Row {
	r.Goal, r.Met = words+number(goal), &met
	return r
}

func (r Row) measured() float64 {
	if r.Ratio != nil {
		return *r.Ratio
	}
	return r.Value
}

// against compares the row with another figure: each round, of which the median counts.
func (r Row) against(name string, ratios ...float64) Row {
	ratio := median(ratios)
	r.Compared, r.Ratio, r.Rounds = name, &ratio, ratios
	return r
}

// spread is between which values the rounds lie.
func (r Row) spread() string {
	if len(r.Rounds) < 2 {
		return ""
	}
	return fmt.Sprintf(" (%s to %s)", number(slices.Min(r.Rounds)), number(slices.Max(r.Rounds)))
}

// number prints three significant figures at least.
func number(f float64) string {
	switch {
	case f == 0:
		return "0"
	case f >= 100 || f <= -100:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case f >= 10 || f <= -10:
		return strconv.FormatFloat(f, 'f', 1, 64)
	case f >= 0.095 || f <= -0.095:
		return strconv.FormatFloat(f, 'f', 2, 64)
	}
	return strconv.FormatFloat(f, 'g', 2, 64)
}

// Report of a run.
type Report struct {
	Section string // of docs/performance.md
	Commit  string
	Text    string // a sentence on how it was run
	Rows    []Row
}

// WriteJSON writes the rows to a file.
func (r Report) WriteJSON(file string) error {
	data, err := json.MarshalIndent(r.Rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), reportMode)
}

// WritePage replaces the report's section of a Markdown page, which lies between
// two comments.
func (r Report) WritePage(file string) error {
	begin, end := "<!-- "+r.Section+" -->\n", "<!-- end of "+r.Section+" -->\n"
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(data), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has no section between %q and %q", file, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(file, []byte(before+begin+r.Markdown()+end+after), reportMode)
}

// Markdown is the report as a table.
func (r Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Commit %s. %s\n\n| what | measured | compared with | ratio | goal | met |\n|---|---|---|---|---|---|\n", r.Commit, r.Text)
	for _, row := range r.Rows {
		measured, ratio, met := number(row.Value)+" "+row.Unit, "", ""
		if row.Ratio != nil {
			ratio = number(*row.Ratio) + row.spread()
		} else {
			measured += row.spread()
		}
		if row.Met != nil {
			met = map[bool]string{true: "yes", false: "**no**"}[*row.Met]
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", row.Name, measured, row.Compared, ratio, row.Goal, met)
	}
	return b.String()
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return s[len(s)/2]
}
