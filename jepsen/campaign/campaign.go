package campaign

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hexrdev/hexrd/jepsen/arena"
	"github.com/hexrdev/hexrd/jepsen/report"
)

// ErrFound: a checker found something that must not be.
var ErrFound = errors.New("the campaign found something")

// Run does the campaign. It goes on after a run that found something: ErrFound
// comes at the end. Another error ends it at once.
func Run(ctx context.Context, c Config) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if c.Progress == nil {
		c.Progress = io.Discard
	}
	if err := os.MkdirAll(c.Out, 0o700); err != nil {
		return fmt.Errorf("make the directory for reports: %w", err)
	}
	if c.Program == "" {
		c.Program = filepath.Join(c.Out, "hexrd")
		if err := arena.Build(ctx, c.Program, arena.FaultTag); err != nil {
			return err
		}
	}
	end := time.Now().Add(c.Time)
	var done []*report.Run
	var found error
	for number := c.From; c.Runs == 0 || number < c.From+c.Runs; number++ {
		if number > c.From && c.Runs == 0 && time.Now().After(end) {
			break
		}
		one, err := c.one(ctx, number)
		if err != nil {
			return errors.Join(found, fmt.Errorf("run %d (%s): %w", number, c.replay(number), err))
		}
		done = append(done, one)
		if !one.OK() {
			found = ErrFound
		}
		if err := report.WriteCampaign(filepath.Join(c.Out, "index.html"), done); err != nil {
			return err
		}
	}
	return found
}

// one does a run, and says how it went.
func (c *Config) one(ctx context.Context, number int) (*report.Run, error) {
	r := &run{c: c, plan: c.plan(number), dir: filepath.Join(c.Out, fmt.Sprintf("run-%d-%d", c.Seed, number))}
	if err := os.RemoveAll(r.dir); err != nil { // of a run of the same number before
		return nil, err
	}
	c.say("run %d: %s", number, r.plan)
	out, err := r.execute(ctx)
	if err != nil {
		return nil, err
	}
	f := out.Figures
	c.say("  %d operations in %s, %d decided, %d rows, %d events, longest gap %s",
		f.Operations, f.Took.Round(time.Second), f.Decided, f.Rows, len(out.Events), f.Gap.Round(10*time.Millisecond))
	for _, left := range out.Left {
		c.say("  left out: %s", left)
	}
	if out.OK() && !c.Keep {
		return out, r.tidy()
	}
	if out.OK() {
		return out, nil
	}
	for _, res := range out.Results {
		for _, p := range res.Problems {
			c.say("  %s: %s", res.Name, p)
		}
	}
	c.say("  FOUND: %s has the history, the logs and the directories of the nodes; again: %s", r.dir, out.Replay)
	return out, nil
}

// tidy leaves the report and the history of a run that found nothing.
func (r *run) tidy() error {
	return errors.Join(os.RemoveAll(filepath.Join(r.dir, "cluster")), os.RemoveAll(filepath.Join(r.dir, "backing")))
}

// replay is the command that does a run again.
func (c *Config) replay(number int) string {
	args := []string{"go run ./jepsen", "-seed", strconv.FormatUint(c.Seed, 10), "-from", strconv.Itoa(number), "-runs 1", "-run", c.RunTime.String()}
	if c.Nodes != 0 {
		args = append(args, "-nodes", strconv.Itoa(c.Nodes))
	}
	if c.LogStore != "" {
		args = append(args, "-log-store", c.LogStore)
	}
	if c.SVIDTTL != 0 {
		args = append(args, "-svid-ttl", c.SVIDTTL.String())
	}
	if c.Old != "" {
		args = append(args, "-old", c.Old)
	}
	if len(c.Faults) > 0 {
		args = append(args, "-faults", strings.Join(c.Faults, ","))
	}
	if len(c.Workloads) > 0 {
		args = append(args, "-workloads", strings.Join(c.Workloads, ","))
	}
	if c.Kills > 0 {
		args = append(args, "-kills", strconv.Itoa(c.Kills))
	}
	if c.Loopback {
		args = append(args, "-loopback")
	}
	if c.Python != "" {
		args = append(args, "-python", c.Python)
	}
	return strings.Join(args, " ")
}

func (c *Config) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.Progress, format+"\n", args...)
}
