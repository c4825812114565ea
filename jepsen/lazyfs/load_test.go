package lazyfs_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hexrdev/hexrd/client"
)

// worker is an agent that writes and reads, and knows what it must read.
type worker struct {
	id    string
	cl    *client.Client
	acked map[string]uint64
}

func (w *worker) step(ctx context.Context, i int) error {
	path := fmt.Sprintf("keys/%d", i%5)
	if i%4 != 3 {
		resp, err := w.cl.Put(ctx, path, []byte(fmt.Sprintf("%s-%d", path, w.acked[path]+1)), client.PutOptions{})
		if err != nil {
			return fmt.Errorf("put: %w", err)
		}
		if resp.GetVersion() != w.acked[path]+1 {
			return fmt.Errorf("put: version %d after %d: lost or applied twice", resp.GetVersion(), w.acked[path])
		}
		w.acked[path]++
		return nil
	}
	return w.read(ctx, path)
}

func (w *worker) read(ctx context.Context, path string) error {
	got, err := w.cl.Get(ctx, path)
	switch {
	case errors.Is(err, client.ErrNotFound) && w.acked[path] == 0:
		return nil
	case err != nil:
		return fmt.Errorf("get: %w", err)
	case got.Version != w.acked[path], got.Text() != fmt.Sprintf("%s-%d", path, got.Version):
		return fmt.Errorf("get: version %d, acknowledged %d: stale or lost", got.Version, w.acked[path])
	}
	return nil
}

// load runs agents until it is stopped; an error of any stops all.
type load struct {
	workers []*worker
	done    atomic.Int64
	failed  chan error
	stop    context.CancelFunc
	wg      sync.WaitGroup
}

func (r *rig) load(agents int) *load {
	ctx, stop := context.WithCancel(r.t.Context())
	l := &load{stop: stop, failed: make(chan error, agents)}
	for i := range agents {
		id := fmt.Sprintf("acme/agent-%d", i)
		w := &worker{id: id, cl: r.dial(id), acked: map[string]uint64{}}
		l.workers = append(l.workers, w)
		l.wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if err := w.step(r.t.Context(), i); err != nil { // what has begun is finished
					l.failed <- fmt.Errorf("%s, operation %d: %w", w.id, i, err)
					return
				}
				l.done.Add(1)
			}
		})
	}
	return l
}

// progress waits until so many operations more are done.
func (l *load) progress(n int64) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(2 * time.Minute)
	for want := l.done.Load() + n; l.done.Load() < want; {
		select {
		case err := <-l.failed:
			return err
		case <-limit:
			return errors.New("no progress in two minutes")
		case <-tick.C:
		}
	}
	return nil
}
