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
	listPaths = 25
	listAge   = 10 * time.Second
)

// Listing is agents that put and delete the secrets of a directory, and list it.
type Listing struct {
	Session *Session
	Cluster *arena.Cluster
	Pause   time.Duration

	values atomic.Uint64
}

// Name of the workload.
func (w *Listing) Name() string { return "list" }

// Run works until ctx ends.
func (w *Listing) Run(ctx context.Context, worker int, r *rand.Rand) {
	for ctx.Err() == nil {
		prefix := fmt.Sprintf("list/%d/", w.Session.recorder.Now()/listAge)
		o := history.Op{Workload: w.Name(), Worker: worker, Path: fmt.Sprintf("%s%d", prefix, r.IntN(listPaths))}
		switch n := r.IntN(10); {
		case n < 4:
			o.Kind, o.Value = history.Put, fmt.Sprintf("l%d", w.values.Add(1))
		case n < 6:
			o.Kind = history.Delete
		default:
			o.Kind, o.Path = history.List, prefix
		}
		w.Session.Do(ctx, r, pick(r, w.Cluster.Members()), o)
		rest(ctx, r, w.Pause)
	}
}

// Last lists every directory once more, through every node.
func (w *Listing) Last(ctx context.Context, r *rand.Rand) {
	for age := range w.Session.recorder.Now()/listAge + 1 {
		for _, n := range w.Cluster.Members() {
			w.Session.insist(ctx, r, n, history.Op{
				Workload: w.Name(), Worker: history.LastWorker, Kind: history.List, Path: fmt.Sprintf("list/%d/", age),
			})
		}
	}
}
