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

// loss is a way to lose the leader.
type loss struct {
	row  string
	lose func(ctx context.Context, id string) error
	back func(ctx context.Context, id string) error // the node
	need int                                        // callers whose puts succeed again
}

// failover loses the leader some times, and takes the time until puts succeed that
// were sent after that. Callers put all the while, through clients that know all nodes.
func (r *standard) failover(ctx context.Context) ([]Row, error) {
	if r.Failovers == 0 {
		return nil, nil
	}
	failed := int64(0)
	var rows []Row
	for _, l := range []loss{
		{"from SIGKILL of the leader to a put", r.Cluster.Kill, r.Cluster.Start, 1},
		{"from SIGSTOP of the leader to a put of every caller", r.Cluster.Stop, r.Cluster.Continue, failoverLoad},
	} {
		var took []float64
		for i := range r.Failovers {
			d, errs, err := r.failOnce(ctx, l)
			if err != nil {
				return nil, fmt.Errorf("failover: %w", err)
			}
			r.say("%s %d: %.2f s, %d errors", l.row, i+1, d.Seconds(), errs)
			took, failed = append(took, d.Seconds()), failed+errs
		}
		rows = append(rows, Row{Name: fmt.Sprintf("%s, median of %d", l.row, r.Failovers), Value: median(took), Unit: "s", Rounds: took})
	}
	rows[0] = rows[0].atMost(0.9)
	return append(rows, Row{Name: "errors that callers saw meanwhile", Value: float64(failed)}.atMost(0)), nil
}

// losses is what the callers of one failover see.
type losses struct {
	mu     sync.Mutex
	gone   time.Time // when the leader was lost; zero: it runs
	need   int       // callers of whom no put has succeeded that was sent after that
	last   time.Time // when the last of them was back
	errors int64
	back   chan struct{} // closed at last
}

// put notes a put of a caller that is not back, and reports that it is now.
func (k *losses) put(began time.Time, err error, isBack bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.errors++
	}
	if err != nil || isBack || k.gone.IsZero() || began.Before(k.gone) || k.need == 0 {
		return isBack
	}
	if k.need--; k.need == 0 {
		k.last = time.Now()
		close(k.back)
	}
	return true
}

func (r *standard) failOnce(ctx context.Context, l loss) (time.Duration, int64, error) {
	leader, err := leaderOf(ctx, AdminSockets{}, r.nodes)
	if err != nil {
		return 0, 0, err
	}
	k := &losses{back: make(chan struct{}), need: l.need}
	stop, err := r.putAllTheWhile(ctx, k)
	if err != nil {
		return 0, 0, err
	}
	if err := sleep(ctx, settle); err != nil {
		return 0, 0, errors.Join(err, stop())
	}
	id, lost := r.nodes[leader].ID, time.Now()
	if err := l.lose(ctx, id); err != nil {
		return 0, 0, errors.Join(err, stop())
	}
	k.mu.Lock()
	k.gone = time.Now()
	k.mu.Unlock()
	select {
	case <-k.back:
	case <-time.After(failoverLimit):
		err = errors.New("puts do not succeed")
	case <-ctx.Done():
		err = ctx.Err()
	}
	err = errors.Join(err, sleep(ctx, settle), stop(), l.back(ctx, id))
	return k.last.Sub(lost), k.errors, err
}

// putAllTheWhile puts until stop is called.
func (r *standard) putAllTheWhile(ctx context.Context, k *losses) (stop func() error, err error) {
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
			value, back := payload(valueSize), false
			for ctx.Err() == nil {
				began := time.Now()
				_, err := c.Put(ctx, path(0), value, client.PutOptions{})
				if ctx.Err() == nil {
					back = k.put(began, err, back)
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
