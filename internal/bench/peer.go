package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Peer is a run against another store: the same loads on both, in turns, on one
// machine.
type Peer struct {
	Standard
	Name    string
	Command []string // a program that obeys orders
}

// Run measures both.
func (p Peer) Run(ctx context.Context) (rows []Row, err error) {
	r := &standard{Standard: p.Standard, seen: map[string][]float64{}}
	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	other, err := startChild(ctx, p.Command[0], p.Command[1:]...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, other.close()) }()
	loads := []Config{
		r.config(Get, 64, All), r.config(Get, 256, All), r.config(Put, 64, All), r.config(Put, 256, All),
		r.config(Denied, 64, All), r.config(Denied, 256, All),
		r.config(Get, 1, Leader), r.config(Get, 1, Follower), r.config(Put, 1, Leader),
	}
	for round := range p.Rounds {
		r.say("round %d of %d", round+1, p.Rounds)
		for _, c := range loads {
			turns := []step{r.load(loadName(c), c), p.load(r, other, c)}
			if round%2 == 1 {
				slices.Reverse(turns)
			}
			for _, measure := range turns {
				if err := measure(ctx); err != nil {
					return nil, err
				}
			}
		}
	}
	for _, c := range loads {
		rows = append(rows, r.compared(p.Name, c))
	}
	return append(rows, Row{Name: "errors of both", Value: float64(r.errors)}.atMost(0)), nil
}

// load puts the same on the other store; it denies no put.
func (p Peer) load(r *standard, other *child, c Config) step {
	workload := c.Workload
	if workload == Denied {
		workload = Put
	}
	return func(context.Context) error {
		rate, err := other.ask(Order{Workload: workload, Workers: c.Workers, Duration: c.Duration, WarmUp: c.WarmUp, Target: c.Target})
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		for _, n := range rate.Errors {
			r.errors += n
		}
		r.keep(p.Name+" "+loadName(c), rate)
		return nil
	}
}

func loadName(c Config) string {
	return fmt.Sprintf("%s, %d workers, %s", c.Workload, c.Workers, c.Target)
}

// compared is throughput where many work, and median latency where one does.
func (r *standard) compared(other string, c Config) Row {
	name := loadName(c)
	if c.Workers == 1 {
		theirs := other + " " + name + " p50"
		row := r.micros("median of a "+name, name+" p50").
			against(fmt.Sprintf("%s: %s us", other, number(median(r.seen[theirs]))), r.ratios(name+" p50", theirs)...)
		if c.Workload == Get && c.Target == Leader {
			row = row.atMost(1)
		}
		return row
	}
	theirs, whose := other+" "+name, other
	if c.Workload == Denied {
		whose += ", which stores it"
	}
	row := r.rate(name, name).against(fmt.Sprintf("%s: %s /s", whose, number(median(r.seen[theirs]))), r.ratios(name, theirs)...)
	switch c.Workload {
	case Put:
		return row.atLeast(2.5)
	case Get:
		return row.atLeast(2)
	}
	return row
}
