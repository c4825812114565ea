package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/hexrdev/hexrd/jepsen/arena"
	"github.com/hexrdev/hexrd/jepsen/history"
)

const (
	registerKeys = 6
	// registerAge is how long a set of keys is used: a history with few operations
	// for each key is one that porcupine can check.
	registerAge = 8 * time.Second
	// retried is the part of calls that go to any node, with retries.
	retried = 0.4
)

// Register is agents that get, put, compare and set, delete and undelete the
// same few secrets through random nodes.
type Register struct {
	Session *Session
	Cluster *arena.Cluster
	Pause   time.Duration // between calls of a worker

	values atomic.Uint64
	latest [registerKeys]atomic.Uint64 // a version that somebody saw, to compare with
}

// Name of the workload.
func (w *Register) Name() string { return "register" }

// Run works until ctx ends. It is called once for each worker.
func (w *Register) Run(ctx context.Context, worker int, r *rand.Rand) {
	for ctx.Err() == nil {
		key := r.IntN(registerKeys)
		age := w.Session.recorder.Now() / registerAge
		o := history.Op{Workload: w.Name(), Worker: worker, Path: fmt.Sprintf("register/%d/%d", age, key)}
		w.choose(r, key, &o)
		o = w.Session.Do(ctx, r, pick(r, w.Cluster.Members()), o)
		if o.Outcome == history.OK {
			w.latest[key].Store(o.Version)
		}
		rest(ctx, r, w.Pause)
	}
}

func (w *Register) choose(r *rand.Rand, key int, o *history.Op) {
	switch n := r.IntN(100); {
	case n < 45:
		o.Kind = history.Get
	case n < 70:
		o.Kind, o.Value = history.Put, w.value()
	case n < 87:
		o.Kind, o.Value = history.Put, w.value()
		expected := w.latest[key].Load()
		if r.IntN(5) == 0 {
			expected = 0
		}
		o.Expected = &expected
	case n < 95:
		o.Kind = history.Delete
	default:
		o.Kind = history.Undelete
	}
}

func (w *Register) value() string { return fmt.Sprintf("r%d", w.values.Add(1)) }

// rest waits for about that long.
func rest(ctx context.Context, r *rand.Rand, pause time.Duration) {
	if pause <= 0 {
		return
	}
	t := time.NewTimer(time.Duration(float64(pause) * (0.5 + r.Float64())))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Last reads every secret once more, through every node.
func (w *Register) Last(ctx context.Context, r *rand.Rand) {
	now := w.Session.recorder.Now() / registerAge
	for age := range now + 1 {
		for key := range registerKeys {
			members := w.Cluster.Members()
			o := history.Op{Workload: w.Name(), Worker: history.LastWorker, Kind: history.Get, Path: fmt.Sprintf("register/%d/%d", age, key)}
			w.Session.insist(ctx, r, members[(int(age)+key)%len(members)], o)
		}
	}
}
