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
	versionPaths = 4
	versionAge   = 10 * time.Second
	// versionsSure is how far behind the latest a version is kept for certain: the
	// setting is 100.
	versionsSure = 50
)

// Versioned is agents that put new versions of the same few secrets, and read old
// ones and their list.
type Versioned struct {
	Session *Session
	Cluster *arena.Cluster
	Pause   time.Duration

	values atomic.Uint64
	latest atomic.Pointer[version] // that was acknowledged last, anywhere
}

type version struct {
	path   string
	number uint64
}

// Name of the workload.
func (w *Versioned) Name() string { return "versions" }

// Run works until ctx ends.
func (w *Versioned) Run(ctx context.Context, worker int, r *rand.Rand) {
	for ctx.Err() == nil {
		o := history.Op{
			Workload: w.Name(), Worker: worker,
			Path: fmt.Sprintf("versions/%d/%d", w.Session.recorder.Now()/versionAge, r.IntN(versionPaths)),
		}
		latest := w.latest.Load()
		switch n := r.IntN(10); {
		case n < 5 || latest == nil:
			o.Kind, o.Value = history.Put, fmt.Sprintf("v%d", w.values.Add(1))
		case n < 8:
			o.Kind, o.Path, o.Must = history.Get, latest.path, history.OK
			o.Asked = latest.number - uint64(r.IntN(int(min(latest.number, versionsSure))))
		default:
			o.Kind, o.Path, o.Must = history.Versions, latest.path, history.OK
		}
		o = w.Session.Do(ctx, r, pick(r, w.Cluster.Members()), o)
		if o.Kind == history.Put && o.Outcome == history.OK {
			w.latest.Store(&version{o.Path, o.Version})
		}
		rest(ctx, r, w.Pause)
	}
}

// Last reads the versions of every secret once more.
func (w *Versioned) Last(ctx context.Context, r *rand.Rand) {
	for age := range w.Session.recorder.Now()/versionAge + 1 {
		for key := range versionPaths {
			members := w.Cluster.Members()
			w.Session.insist(ctx, r, members[key%len(members)], history.Op{
				Workload: w.Name(), Worker: history.LastWorker, Kind: history.Versions, Path: fmt.Sprintf("versions/%d/%d", age, key),
			})
		}
	}
}
