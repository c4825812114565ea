package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hexrdev/hexrd/client"
)

const (
	failoverLoad  = 4 // workers that put all the while
	failoverLimit = 30 * time.Second
	settle        = 2 * time.Second
)

// failover kills the leader some times, and takes the time until a put succeeds
// that was sent after the kill. Callers put all the while, through clients that
// know all nodes.
func (r *standard) failover(ctx context.Context) ([]Row, error) {
	var took []float64
	failed := int64(0)
	for i := range r.Failovers {
		d, errs, err := r.failOnce(ctx)
		if err != nil {
			return nil, fmt.Errorf("failover: %w", err)
		}
		r.say("failover %d: %.2f s, %d errors", i+1, d.Seconds(), errs)
		took, failed = append(took, d.Seconds()), failed+errs
	}
	if r.Failovers == 0 {
		return nil, nil
	}
	return []Row{
		Row{Name: fmt.Sprintf("from SIGKILL of the leader to a put, median of %d", r.Failovers), Value: median(took), Unit: "s"}.atMost(0.9),
		Row{Name: "errors that callers saw meanwhile", Value: float64(failed)}.atMost(0),
	}, nil
}

// kills is what the callers of one failover see.
type kills struct {
	mu     sync.Mutex
	gone   time.Time // when the leader's process had ended; zero: it runs
	first  time.Time // success of a put that was sent after that
	errors int64
	back   chan struct{} // closed at first
}

func (k *kills) put(began time.Time, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err != nil:
		k.errors++
	case !k.gone.IsZero() && began.After(k.gone) && k.first.IsZero():
		k.first = time.Now()
		close(k.back)
	}
}

func (r *standard) failOnce(ctx context.Context) (time.Duration, int64, error) {
	leader, err := leaderOf(ctx, AdminSockets{}, r.nodes)
	if err != nil {
		return 0, 0, err
	}
	k := &kills{back: make(chan struct{})}
	stop, err := r.putAllTheWhile(ctx, k)
	if err != nil {
		return 0, 0, err
	}
	if err := sleep(ctx, settle); err != nil {
		return 0, 0, errors.Join(err, stop())
	}
	id, killed := r.nodes[leader].ID, time.Now()
	if err := r.Cluster.Kill(ctx, id); err != nil {
		return 0, 0, errors.Join(err, stop())
	}
	k.mu.Lock()
	k.gone = time.Now()
	k.mu.Unlock()
	select {
	case <-k.back:
	case <-time.After(failoverLimit):
		err = errors.New("no put succeeded")
	case <-ctx.Done():
		err = ctx.Err()
	}
	err = errors.Join(err, sleep(ctx, settle), stop(), r.Cluster.Start(ctx, id))
	return k.first.Sub(killed), k.errors, err
}

// putAllTheWhile puts until stop is called.
func (r *standard) putAllTheWhile(ctx context.Context, k *kills) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var clients []*client.Client
	stop = func() error {
		cancel()
		wg.Wait()
		var errs []error
		for _, c := range clients {
			errs = append(errs, c.Close())
		}
		return errors.Join(errs...)
	}
	for w := range failoverLoad {
		cfg := r.Identities[w%len(r.Identities)]
		for _, n := range r.nodes {
			cfg.Addrs = append(cfg.Addrs, n.Addr)
		}
		c, err := client.Dial(ctx, cfg)
		if err != nil {
			return nil, errors.Join(err, stop())
		}
		clients = append(clients, c)
		wg.Go(func() {
			value := payload(valueSize)
			for ctx.Err() == nil {
				began := time.Now()
				_, err := c.Put(ctx, path(0), value, client.PutOptions{})
				if ctx.Err() == nil {
					k.put(began, err)
				}
			}
		})
	}
	return stop, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
