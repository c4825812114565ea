package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
)

//go:embed campaign.html
var campaignPage string

// WriteCampaign writes a page of all runs of a campaign so far; it links to those
// of the runs, which lie beside it.
func WriteCampaign(file string, runs []*Run) error {
	t, err := template.New("campaign").Funcs(template.FuncMap{"round": round}).Parse(campaignPage)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	total := Figures{Faults: map[string]int{}}
	found := 0
	for _, r := range runs {
		f := r.Figures
		total.Took, total.Operations, total.Decided, total.Rows = total.Took+f.Took, total.Operations+f.Operations, total.Decided+f.Decided, total.Rows+f.Rows
		total.Failed += f.Failed
		for name, n := range f.Faults {
			total.Faults[name] += n
		}
		if !r.OK() {
			found++
		}
	}
	f, err := os.Create(filepath.Clean(file))
	if err != nil {
		return err
	}
	if err := t.Execute(f, map[string]any{"Runs": runs, "Total": total, "Found": found}); err != nil {
		_ = f.Close()
		return fmt.Errorf("report: %w", err)
	}
	return f.Close()
}
