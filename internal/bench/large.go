package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hexrdev/hexrd/client"
)

const (
	rowsBatch     = 100 // paths of a batch that makes audit rows
	restarts      = 3
	snapshotLimit = 10 * time.Minute
	snapshotPoll  = 50 * time.Millisecond
	firstAnswer   = 5 * time.Millisecond // between tries
)

// large fills the store, and measures what must not grow with it.
func (r *standard) large(ctx context.Context) ([]Row, error) {
	if r.Secrets == 0 {
		return nil, nil
	}
	if err := r.fill(ctx, r.Secrets, r.Rows); err != nil {
		return nil, err
	}
	with := fmt.Sprintf(" with %d secrets and %d audit rows", r.Secrets, r.Rows)
	c := r.config(Get, 64, All)
	c.Secrets = r.Secrets
	rows, err := r.besideEmpty(ctx, c, with)
	if err != nil {
		return nil, err
	}
	for _, more := range []func(context.Context, Config) (Row, error){r.snapshotStall, r.restart, r.resident} {
		row, err := more(ctx, c)
		if err != nil {
			return nil, err
		}
		row.Name += with
		rows = append(rows, row)
	}
	return rows, nil
}

// besideEmpty measures gets in turns with those of a cluster that holds little. It runs
// at the same time: the machine may have become slower since this one was empty.
func (r *standard) besideEmpty(ctx context.Context, c Config, with string) (_ []Row, err error) {
	bed, end, err := r.Beside(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end()) }()
	empty := &standard{Standard: r.Standard, seen: r.seen}
	empty.Bed = bed
	if err := empty.begin(ctx); err != nil {
		return nil, err
	}
	few := r.config(Get, 64, All)
	turns := []step{r.load("get few of large", few), empty.load("get empty", empty.config(Get, 64, All)), r.load("get large", c)}
	for range r.Rounds {
		for _, measure := range turns {
			if err := measure(ctx); err != nil {
				return nil, err
			}
		}
		slices.Reverse(turns)
	}
	r.errors += empty.errors
	const beside = "the same with an empty store, in turns"
	return []Row{
		r.rate("get over all nodes, 64 workers,"+with, "get large").against(beside, r.ratios("get large", "get empty")...).atLeast(0.9),
		r.rate(fmt.Sprintf("get of %d secrets over all nodes, 64 workers,", few.Secrets)+with, "get few of large").against(beside, r.ratios("get few of large", "get empty")...),
	}, nil
}

// fill writes secrets, and reads them until there are so many audit rows.
func (r *standard) fill(ctx context.Context, secrets, rows int) error {
	r.say("writing %d secrets", secrets)
	c := r.config(Get, 1, All)
	from := c.each()
	c.Secrets = secrets
	if from < c.each() {
		if err := prepare(ctx, c, from); err != nil {
			return err
		}
	}
	r.say("making %d audit rows", rows)
	c = r.config(BatchGet, len(r.Identities), All)
	c.Batch, c.Secrets, c.Scraper, c.WarmUp = rowsBatch, secrets, nil, 0
	for {
		s, err := AdminSockets{}.Scrape(ctx, r.nodes[0])
		if err != nil {
			return err
		}
		if s[mRows] >= float64(rows) {
			return nil
		}
		result, err := Measure(ctx, c)
		if err != nil {
			return err
		}
		if result.Operations == 0 {
			return fmt.Errorf("no audit rows come: no batch was answered within %s; errors: %v", c.Duration, result.Errors)
		}
	}
}

// snapshotStall is the longest time without any answer while the leader makes a
// snapshot under load: what Apply stands still is a part of that. A disk of others
// stands still now and then, too: of some snapshots the median counts.
func (r *standard) snapshotStall(ctx context.Context, c Config) (Row, error) {
	callers, err := openCallers(ctx, c, c.Workers, addresses(r.nodes))
	if err != nil {
		return Row{}, err
	}
	defer func() { _ = callers.close() }()
	var gaps []float64
	for range r.Rounds {
		gap, err := r.snapshotGap(ctx, c, callers)
		if err != nil {
			return Row{}, fmt.Errorf("snapshot under load: %w", err)
		}
		gaps = append(gaps, float64(gap)/1000)
		r.say("longest time without an answer around a snapshot: %s", micro(gap))
	}
	name := fmt.Sprintf("longest time without an answer while the leader makes a snapshot, median of %d,", r.Rounds)
	return Row{Name: name, Value: median(gaps), Unit: "ms", Rounds: gaps}.atMost(50), nil
}

func (r *standard) snapshotGap(ctx context.Context, c Config, callers *callers) (int64, error) {
	leader, err := leaderOf(ctx, AdminSockets{}, r.nodes)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, snapshotLimit)
	defer cancel()
	loading, stop := context.WithCancel(ctx)
	defer stop()
	made := make(chan error, 1)
	before, err := AdminSockets{}.Scrape(ctx, r.nodes[leader])
	if err != nil {
		return 0, err
	}
	go func() {
		defer stop()
		made <- awaitSnapshot(ctx, r.nodes[leader], before[mSnapshots])
	}()
	load := Load{Workers: c.Workers, Duration: snapshotLimit, WarmUp: time.Second, Progress: c.Progress}
	rate, err := load.Drive(loading, callers.operation(Get))
	if loading.Err() != nil && ctx.Err() == nil {
		err = nil // the snapshot is there
	}
	return rate.Gap, errors.Join(err, <-made)
}

func awaitSnapshot(ctx context.Context, n Node, before float64) error {
	for {
		s, err := AdminSockets{}.Scrape(ctx, n)
		if err != nil {
			return err
		}
		if s[mSnapshots] > before {
			return sleep(ctx, settle)
		}
		if err := sleep(ctx, snapshotPoll); err != nil {
			return err
		}
	}
}

// restart kills a follower some times, and takes the time from its start to its
// first answer.
func (r *standard) restart(ctx context.Context, c Config) (Row, error) {
	var took []float64
	for range restarts {
		leader, err := leaderOf(ctx, AdminSockets{}, r.nodes)
		if err != nil {
			return Row{}, err
		}
		n := r.nodes[(leader+1)%len(r.nodes)]
		if err := r.Cluster.Kill(ctx, n.ID); err != nil {
			return Row{}, err
		}
		began, started := time.Now(), make(chan error, 1)
		go func() { started <- r.Cluster.Start(ctx, n.ID) }()
		err = awaitAnswer(ctx, c.Identities[0], n.Addr)
		took = append(took, time.Since(began).Seconds())
		r.say("restart: %.2f s", took[len(took)-1])
		if err := errors.Join(err, <-started); err != nil {
			return Row{}, fmt.Errorf("restart: %w", err)
		}
	}
	return Row{Name: "restart of a node to its first answer, after SIGKILL,", Value: median(took), Unit: "s", Rounds: took}.atMost(3), nil
}

func awaitAnswer(ctx context.Context, id client.Config, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, snapshotLimit)
	defer cancel()
	id.Addrs, id.AttemptTimeout = []string{addr}, time.Second
	for {
		cl, err := client.Dial(ctx, id)
		if err != nil {
			return err
		}
		_, err = cl.Get(ctx, path(0))
		if closed := cl.Close(); err == nil {
			return closed
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the node does not answer: %w", err)
		}
		if err := sleep(ctx, firstAnswer); err != nil {
			return err
		}
	}
}

// resident is the memory of the largest node, after a load.
func (r *standard) resident(ctx context.Context, c Config) (Row, error) {
	result, err := r.measure(ctx, "get resident", c)
	if err != nil {
		return Row{}, err
	}
	return Row{Name: "resident memory of the largest node, under load,", Value: result.Servers.Resident / (1 << 20), Unit: "MiB"}.atMost(500), nil
}

func addresses(nodes []Node) []string {
	addrs := make([]string, 0, len(nodes))
	for _, n := range nodes {
		addrs = append(addrs, n.Addr)
	}
	return addrs
}
