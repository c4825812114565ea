package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hexrdev/hexrd/client"
)

// Cluster is one on this machine whose nodes can be killed.
type Cluster interface {
	Nodes(ctx context.Context) ([]Node, error)
	Kill(ctx context.Context, id string) error
	// Stop halts a node's process until Continue.
	Stop(ctx context.Context, id string) error
	Continue(ctx context.Context, id string) error
	// Start starts a node that does not run, and returns when it is healthy.
	Start(ctx context.Context, id string) error
}

// Bed is a cluster for a run alone, and who calls it.
type Bed struct {
	Cluster    Cluster
	Identities []client.Config // agents that call
	Operator   client.Config   // raises the limits of callers
}

// Standard is the run of the standard table.
type Standard struct {
	Bed
	// Beside starts another cluster, for the rows of the large store, and gives what ends it.
	Beside    func(ctx context.Context) (Bed, func() error, error)
	Program   string // hexrd, which serves what is compared with
	Dir       string // for what is compared with
	LogStore  string
	Duration  time.Duration // of each measurement
	Rounds    int           // how often each is done; the median counts
	Failovers int
	Arrivals  int // connections of the burst
	Secrets   int // of the large store; 0: without its rows
	Rows      int // audit rows of the large store
	Log       io.Writer
	Progress  io.Writer
}

const (
	emptySecrets = 1024
	valueSize    = 1024
	warmUp       = time.Second
)

// standard is the state of a run.
type standard struct {
	Standard
	machine *machine
	nodes   []Node
	seen    map[string][]float64 // by name, one for each round
	errors  int64
}

// Run measures all rows.
func (s Standard) Run(ctx context.Context) (rows []Row, err error) {
	r := &standard{Standard: s, seen: map[string][]float64{}}
	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	if r.machine, err = startMachine(ctx, s.Program, s.Dir, s.LogStore, s.Identities[0]); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.machine.close()) }()
	for round := range s.Rounds {
		r.say("round %d of %d", round+1, s.Rounds)
		if err := r.round(ctx, round%2 == 1); err != nil {
			return nil, err
		}
	}
	rows = r.rows()
	for _, more := range []func(context.Context) ([]Row, error){r.failover, r.burst, r.large} {
		some, err := more(ctx)
		if err != nil {
			return nil, err
		}
		rows = append(rows, some...)
	}
	return append(rows, Row{Name: "errors that callers saw under all these loads", Value: float64(r.errors)}.atMost(0)), nil
}

// begin readies the cluster, and writes its first secrets.
func (r *standard) begin(ctx context.Context) error {
	if err := r.ready(ctx); err != nil {
		return err
	}
	return prepare(ctx, r.config(Get, 1, All), 0)
}

// ready finds the cluster's nodes and raises its limits.
func (r *standard) ready(ctx context.Context) (err error) {
	if r.nodes, err = r.Cluster.Nodes(ctx); err != nil {
		return err
	}
	return r.raiseLimits(ctx)
}

// raiseLimits lets the few identities of a bench do what many do elsewhere.
func (r *standard) raiseLimits(ctx context.Context) error {
	op := r.Operator
	for _, n := range r.nodes {
		op.Addrs = append(op.Addrs, n.Addr)
	}
	c, err := client.Dial(ctx, op)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	for name, value := range map[string]string{
		"rate_per_second": "1000000", "rate_burst": "1000000", "in_flight_max": "65536",
		"agent_secrets_max": "1000000", "tenant_secrets_max": "10000000", "agent_bytes_max": "1099511627776", "tenant_bytes_max": "4398046511104",
	} {
		if _, err := c.SetSetting(ctx, name, value); err != nil {
			return fmt.Errorf("raise the limits of callers: %w", err)
		}
	}
	return nil
}

func (r *standard) say(format string, args ...any) {
	if r.Log != nil {
		_, _ = fmt.Fprintf(r.Log, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
	}
}

func (r *standard) config(workload string, workers int, target string) Config {
	return Config{
		Workload: workload, Workers: workers, Duration: r.Duration, WarmUp: warmUp, ValueSize: valueSize, Secrets: emptySecrets,
		Batch: 10, Target: target, Skip: true, Identities: r.Identities, Nodes: r.nodes, Scraper: AdminSockets{}, Progress: r.Progress,
	}
}

// measure keeps a load's rate and median latency under a name.
func (r *standard) measure(ctx context.Context, name string, c Config) (Result, error) {
	result, err := Measure(ctx, c)
	if err != nil {
		return result, fmt.Errorf("%s: %w", name, err)
	}
	for _, n := range result.Errors {
		r.errors += n
	}
	r.keep(name, result.Rate)
	return result, nil
}

func (r *standard) keep(name string, rate Rate) {
	r.say("%-24s %8.0f/s  p50 %s  p99 %s  %v", name, rate.PerSecond, micro(rate.Latency.P50), micro(rate.Latency.P99), rate.Errors)
	r.see(name, rate.PerSecond)
	r.see(name+" p50", float64(rate.Latency.P50))
	r.see(name+" p99", float64(rate.Latency.P99))
}

func (r *standard) see(name string, value float64) { r.seen[name] = append(r.seen[name], value) }

// ratios are the rounds' own, to the sum of some.
func (r *standard) ratios(of string, to ...string) []float64 {
	var ratios []float64
	for i, v := range r.seen[of] {
		sum := 0.0
		for _, name := range to {
			if i < len(r.seen[name]) {
				sum += r.seen[name][i]
			}
		}
		if sum > 0 {
			ratios = append(ratios, v/sum)
		}
	}
	return ratios
}

func (r *standard) rate(label, name string) Row {
	return Row{Name: label, Value: median(r.seen[name]), Unit: "/s"}
}

func (r *standard) micros(label, name string) Row {
	return Row{Name: label, Value: median(r.seen[name]), Unit: "us"}
}

func (r *standard) rows() []Row {
	return []Row{
		r.rate("echo, 64 workers", "echo 64"),
		r.rate("echo, 256 workers", "echo 256"),
		r.rate("bare raft append, 1 in flight", "raft 1"),
		r.rate("bare raft append, 64 in flight", "raft 64"),
		r.rate("syncs of the disk", "disk"),
		r.rate("get over all nodes, 64 workers", "get 64").against("echo, 64 workers", r.ratios("get 64", "echo 64")...).atLeast(0.40),
		r.rate("get over all nodes, 256 workers", "get 256").against("echo, 256 workers", r.ratios("get 256", "echo 256")...).atLeast(0.55),
		r.rate("get through a follower, 64 workers", "follower").against("get through the leader", r.ratios("follower", "leader")...).atLeast(0.9),
		r.rate("get through the leader, 64 workers", "leader"),
		r.rate("put over all nodes, 64 workers", "put 64").against("get over all nodes, 64 workers", r.ratios("put 64", "get 64")...).atLeast(0.8),
		r.rate("put that is denied, and so not stored, over all nodes, 64 workers", "denied 64").against("get over all nodes, 64 workers", r.ratios("denied 64", "get 64")...),
		r.micros("median of a get at the leader, 1 worker", "get 1 p50").against("bare raft append, 1 in flight", r.ratios("get 1 p50", "raft 1 p50")...).atMost(1.4),
		r.micros("median of a get at the leader, 1 worker, beside its parts", "get 1 p50").against("an echo and a bare raft append, one after the other", r.ratios("get 1 p50", "echo 1 p50", "raft 1 p50")...),
		r.micros("median of a get at a follower, 1 worker", "get 1 follower p50").against("bare raft append, 1 in flight", r.ratios("get 1 follower p50", "raft 1 p50")...),
		r.micros("median of a bare raft append, 1 in flight", "raft 1 p50"),
		r.micros("median of an echo, 1 worker", "echo 1 p50"),
		r.micros("p99 of a get, 64 workers", "get 64 p99"),
		Row{Name: "syncs of the leader's log for a get, 64 workers", Value: median(r.seen["get 64 syncs"])}.atMost(0.1),
		{Name: "CPU of all nodes for 1,000 gets, 64 workers", Value: median(r.seen["get 64 cpu"]), Unit: "s"},
		{Name: "allocated by all nodes for a get, 64 workers", Value: median(r.seen["get 64 alloc"]) / 1000 / 1024, Unit: "KiB"},
	}
}
