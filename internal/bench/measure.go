package bench

import (
	"context"
	"errors"
	"fmt"
)

// Result of a measurement.
type Result struct {
	Workload    string `json:"workload"`
	Target      string `json:"target"`
	Workers     int    `json:"workers"`
	Connections int    `json:"connections"`
	Identities  int    `json:"identities"`
	Secrets     int    `json:"secrets"`
	ValueSize   int    `json:"value_size"`
	Rate
	Servers *Servers `json:"servers,omitempty"`
}

// Measure writes the secrets, unless they are there, and runs the load.
func Measure(ctx context.Context, c Config) (Result, error) {
	if err := c.Validate(); err != nil {
		return Result{}, err
	}
	if !c.Skip {
		if c.Progress != nil {
			_, _ = fmt.Fprintf(c.Progress, "\r\x1b[Kwriting %d secrets", c.Secrets)
		}
		if err := prepare(ctx, c, 0); err != nil {
			return Result{}, err
		}
	}
	addrs, err := c.targets(ctx)
	if err != nil {
		return Result{}, err
	}
	callers, err := openCallers(ctx, c, c.Workers, addrs)
	if err != nil {
		return Result{}, err
	}
	result, err := callers.measure(ctx)
	return result, errors.Join(err, callers.close())
}

func (c *callers) measure(ctx context.Context) (Result, error) {
	cfg := c.cfg
	var before, after []Sample
	load := Load{Workers: cfg.Workers, Duration: cfg.Duration, WarmUp: cfg.WarmUp, Progress: cfg.Progress}
	if cfg.Scraper != nil {
		load.Begin = func(ctx context.Context) (err error) {
			before, err = scrapeAll(ctx, cfg.Scraper, cfg.Nodes)
			return err
		}
	}
	rate, err := load.Drive(ctx, c.operation(cfg.Workload))
	r := Result{
		Workload: cfg.Workload, Target: cfg.Target, Workers: cfg.Workers, Connections: len(c.made),
		Identities: len(cfg.Identities), Secrets: cfg.Secrets, ValueSize: cfg.ValueSize, Rate: rate,
	}
	if err != nil || cfg.Scraper == nil {
		return r, err
	}
	after, err = scrapeAll(ctx, cfg.Scraper, cfg.Nodes)
	if err == nil {
		r.Servers = spent(before, after, rate.Operations)
	}
	return r, err
}
