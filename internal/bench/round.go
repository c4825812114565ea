package bench

import (
	"context"
	"fmt"
	"slices"
)

// round measures everything once, what is compared next to each other: in turns the one
// and the other first, so that neither has the better moment. Only puts come last: what
// they leave to merge is nobody else's cost.
func (r *standard) round(ctx context.Context, reversed bool) error {
	for _, compared := range [][]step{
		{r.echo(256), r.load("get 256", r.config(Get, 256, All))},
		{r.load("leader", r.config(Get, 64, Leader)), r.load("follower", r.config(Get, 64, Follower))},
		{r.load("get 1 follower", r.config(Get, 1, Follower)), r.load("get 1", r.config(Get, 1, Leader)), r.appends(1), r.echo(1)},
		{r.echo(64), r.load("get 64", r.config(Get, 64, All)), r.load("denied 64", r.config(Denied, 64, All))},
		{r.load("put 64", r.config(Put, 64, All))},
		{r.appends(64)},
		{r.disk},
	} {
		if reversed {
			slices.Reverse(compared)
		}
		for _, measure := range compared {
			if err := measure(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// step is one measurement of a round.
type step func(ctx context.Context) error

func (r *standard) echo(workers int) step {
	return func(ctx context.Context) error {
		rate, err := r.machine.echo(ctx, r.config(Get, workers, All))
		if err != nil {
			return fmt.Errorf("echo: %w", err)
		}
		r.keep(fmt.Sprintf("echo %d", workers), rate)
		return nil
	}
}

func (r *standard) load(name string, c Config) step {
	return func(ctx context.Context) error {
		result, err := r.measure(ctx, name, c)
		if err == nil && result.Servers != nil {
			r.see(name+" syncs", result.Servers.Syncs)
			r.see(name+" cpu", result.Servers.CPU)
			r.see(name+" alloc", result.Servers.Alloc)
		}
		return err
	}
}

func (r *standard) appends(workers int) step {
	return func(ctx context.Context) error {
		rate, err := r.machine.raft(ctx, Order{Workers: workers, Duration: r.Duration, WarmUp: warmUp})
		if err != nil {
			return err
		}
		r.keep(fmt.Sprintf("raft %d", workers), rate)
		return nil
	}
}

func (r *standard) disk(ctx context.Context) error {
	rate, err := r.machine.syncs(ctx, r.Duration)
	r.see("disk", rate)
	return err
}
