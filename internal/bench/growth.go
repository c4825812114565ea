package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
)

// Growth measures how the cost of an operation grows with what the cluster holds.
// The cost is the nodes' CPU time: a busy machine changes it less than latency.
type Growth struct {
	Standard
	Auditor client.Config
	Agents  func(ctx context.Context, from, to int) ([]client.Config, error)
	Steps   int // each four times the one before
}

const (
	growthFactor = 4
	growthStart  = 1024  // secrets
	growthAgents = 16    // at first
	growthRows   = 16384 // at first
	growthShown  = 100   // secrets of a list, rows of a query
	// snapshotLoad is for how many times as long there are puts for the snapshots.
	snapshotLoad = 3
	// noise is what a ratio may be beyond a logarithm's.
	noise = 1.25
)

// growing is the state of a run.
type growing struct {
	*standard
	growth Growth
	rows   []Row
}

// Run measures one dimension after the other.
func (g Growth) Run(ctx context.Context) (rows []Row, err error) {
	r := &growing{standard: &standard{Standard: g.Standard, seen: map[string][]float64{}}, growth: g}
	if err := r.ready(ctx); err != nil {
		return nil, err
	}
	for _, dimension := range []func(context.Context) error{r.versions, r.agents, r.secrets, r.auditRows} {
		if err := dimension(ctx); err != nil {
			return nil, err
		}
	}
	return r.rows, nil
}

// cost of a load, in microseconds of all nodes' CPU for an operation.
func (r *growing) cost(ctx context.Context, c Config) (float64, error) {
	result, err := Measure(ctx, c)
	if err == nil && result.Servers == nil {
		err = fmt.Errorf("%s: nothing was answered: %v", c.Workload, result.Errors)
	}
	if err != nil {
		return 0, err
	}
	return result.Servers.CPU * 1000, nil
}

// add reports a cost at a size, against that at the first one. A logarithm's growth
// is the goal.
func (r *growing) add(what, unit string, costs []float64, sizes []int, of string) {
	for i, cost := range costs {
		row := Row{Name: fmt.Sprintf("%s with %d %s", what, sizes[i], of), Value: cost, Unit: unit}
		if i > 0 && costs[0] > 0 {
			row = row.against(fmt.Sprintf("with %d", sizes[0]), cost/costs[0]).
				atMost(math.Round(noise*math.Log(float64(sizes[i]))/math.Log(float64(sizes[0]))*100) / 100)
		}
		r.say("%s: %s %s", row.Name, number(cost), unit)
		r.rows = append(r.rows, row)
	}
}

func (r *growing) sizes(from int) []int {
	sizes := make([]int, 0, r.growth.Steps)
	for range r.growth.Steps {
		sizes = append(sizes, from)
		from *= growthFactor
	}
	return sizes
}

// secrets: what all agents together hold.
func (r *growing) secrets(ctx context.Context) error {
	sizes := r.sizes(growthStart)
	costs := map[string][]float64{}
	for _, size := range sizes {
		for _, workload := range []string{Get, Put, List} {
			c := r.config(workload, 64, All)
			c.Secrets, c.Batch, c.Skip = size, growthShown, workload != Get
			cost, err := r.cost(ctx, c)
			if err != nil {
				return err
			}
			if workload == List { // it may grow with what it shows
				cost /= float64(min(growthShown, c.each()))
			}
			costs[workload] = append(costs[workload], cost)
		}
		c := r.config(Put, 1, All)
		c.Secrets, c.Skip, c.Duration = size, true, snapshotLoad*r.Duration
		snapshot, err := r.snapshots(ctx, c)
		if err != nil {
			return err
		}
		restart, err := r.restartLeast(ctx)
		if err != nil {
			return err
		}
		costs["snapshot"], costs["restart"] = append(costs["snapshot"], snapshot), append(costs["restart"], restart)
	}
	for _, workload := range []string{Get, Put} {
		r.add(workload, "us", costs[workload], sizes, "secrets")
	}
	r.add(fmt.Sprintf("list that shows up to %d, for each that it shows,", growthShown), "us", costs[List], sizes, "secrets")
	r.add("snapshot, median of all nodes' under one worker's puts,", "ms", costs["snapshot"], sizes, "secrets")
	r.add(fmt.Sprintf("restart to the first answer, the least of %d,", restarts), "ms", costs["restart"], sizes, "secrets")
	return nil
}

// snapshots is how long those took that are made under a worker's puts, so few that each
// has the same to write and a processor to do it with: the median of all nodes'.
func (r *growing) snapshots(ctx context.Context, c Config) (float64, error) {
	looking, end := context.WithCancel(ctx)
	defer end()
	seen := make(chan []float64, 1)
	go func() { seen <- r.watchSnapshots(looking) }()
	_, err := Measure(ctx, c)
	end()
	took := <-seen
	if err == nil && len(took) == 0 {
		err = errors.New("no snapshot was made under puts: measure for longer")
	}
	if err != nil {
		return 0, err
	}
	return median(took), nil
}

// watchSnapshots collects how long each took, in milliseconds, until ctx ends.
func (r *growing) watchSnapshots(ctx context.Context) (took []float64) {
	made := make([]float64, len(r.nodes))
	for first := true; sleep(ctx, snapshotPoll) == nil; first = false {
		samples, err := scrapeAll(ctx, AdminSockets{}, r.nodes)
		if err != nil {
			return took
		}
		for i, s := range samples {
			if s[mSnapshots] > made[i] && !first {
				took = append(took, s[mSnapshot]*1000)
			}
			made[i] = s[mSnapshots]
		}
	}
	return took
}

// restartLeast is the time that a follower takes to its first answer, the least of some:
// the others read a longer end of the log, which the load before left, and settings bound.
func (r *growing) restartLeast(ctx context.Context) (float64, error) {
	row, err := r.restart(ctx, r.config(Get, 1, All))
	if err != nil {
		return 0, err
	}
	return slices.Min(row.Rounds) * 1000, nil
}

// agents: each with its own secrets and connection.
func (r *growing) agents(ctx context.Context) error {
	sizes := r.sizes(growthAgents)
	var gets []float64
	for _, size := range sizes {
		identities, err := r.growth.Agents(ctx, 0, size)
		if err != nil {
			return err
		}
		c := r.config(Get, 64, All)
		c.Identities, c.Secrets, c.Workers, c.Skip = identities, 4*size, 64, false
		cost, err := r.cost(ctx, c)
		if err != nil {
			return err
		}
		gets = append(gets, cost)
	}
	r.add(Get, "us", gets, sizes, "agents")
	return nil
}

// versions: as many of each secret are kept as the cluster allows.
func (r *growing) versions(ctx context.Context) error {
	const secrets = 64
	var gets, puts []float64
	sizes := []int{4, 16, 64}
	for _, size := range sizes {
		if err := r.set(ctx, "versions_kept", fmt.Sprint(size)); err != nil {
			return err
		}
		c := r.config(Get, 64, All)
		c.Secrets, c.Identities, c.Skip = secrets, r.Identities[:secrets], true
		for range size {
			if err := prepare(ctx, c, 0); err != nil {
				return err
			}
		}
		for workload, costs := range map[string]*[]float64{Get: &gets, Put: &puts} {
			c.Workload = workload
			cost, err := r.cost(ctx, c)
			if err != nil {
				return err
			}
			*costs = append(*costs, cost)
		}
	}
	r.add(Get, "us", gets, sizes, "versions of each secret")
	r.add(Put, "us", puts, sizes, "versions of each secret")
	return r.set(ctx, "versions_kept", "10")
}

func (r *growing) set(ctx context.Context, name, value string) error {
	cfg := r.Operator
	cfg.Addrs = addresses(r.nodes)
	op, err := client.Dial(ctx, cfg)
	if err != nil {
		return err
	}
	_, err = op.SetSetting(ctx, name, value)
	return errors.Join(err, op.Close())
}

// auditRows: a query for one path of one caller, and one for a page of a caller's.
func (r *growing) auditRows(ctx context.Context) error {
	sizes := r.sizes(growthRows)
	var queries, gets []float64
	cfg := r.growth.Auditor
	cfg.Addrs = addresses(r.nodes)
	auditor, err := client.Dial(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = auditor.Close() }()
	who, err := r.whoIs(ctx, r.Identities[0])
	if err != nil {
		return err
	}
	before, err := AdminSockets{}.Scrape(ctx, r.nodes[0])
	if err != nil {
		return err
	}
	for i := range sizes { // beside those that are there
		sizes[i] += int(before[mRows])
	}
	for _, size := range sizes {
		if err := r.fill(ctx, growthStart, size); err != nil {
			return err
		}
		cost, err := r.query(ctx, auditor, who)
		if err != nil {
			return err
		}
		queries = append(queries, cost)
		if cost, err = r.cost(ctx, r.config(Get, 64, All)); err != nil {
			return err
		}
		gets = append(gets, cost)
	}
	r.add(Get, "us", gets, sizes, "audit rows")
	r.add(fmt.Sprintf("audit query that returns %d rows of a caller", growthShown), "us", queries, sizes, "audit rows")
	return nil
}

func (r *growing) whoIs(ctx context.Context, cfg client.Config) (string, error) {
	cfg.Addrs = addresses(r.nodes)
	c, err := client.Dial(ctx, cfg)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	who, err := c.WhoAmI(ctx)
	return who.GetSpiffeId(), err
}

// query is the nodes' CPU time for one page of a caller's rows.
func (r *growing) query(ctx context.Context, auditor *client.Client, caller string) (float64, error) {
	load := Load{Workers: 8, Duration: r.Duration, WarmUp: time.Second}
	var before []Sample
	load.Begin = func(ctx context.Context) (err error) {
		before, err = scrapeAll(ctx, AdminSockets{}, r.nodes)
		return err
	}
	rate, err := load.Drive(ctx, func(ctx context.Context, _ int) error {
		n := 0
		for _, err := range auditor.AuditQuery(ctx, &hexrv1.QueryRequest{Caller: caller, PageSize: growthShown}) {
			if err != nil {
				return err
			}
			if n++; n == growthShown {
				break
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	after, err := scrapeAll(ctx, AdminSockets{}, r.nodes)
	if err != nil {
		return 0, err
	}
	s := spent(before, after, rate.Operations)
	if s == nil {
		return 0, fmt.Errorf("no audit query was answered: %v", rate.Errors)
	}
	return s.CPU * 1000, nil
}
