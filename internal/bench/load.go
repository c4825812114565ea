package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"google.golang.org/grpc/status"

	"github.com/hexrdev/hexrd/client"
)

const (
	longest       = time.Minute // what is slower counts as that
	figures       = 3           // significant, of a latency
	progressEvery = 500 * time.Millisecond
)

// Load is a closed loop: each worker sends the next operation when the last one
// was answered.
type Load struct {
	Workers  int
	Duration time.Duration
	WarmUp   time.Duration // not counted
	Progress io.Writer     // a line that is written over and over; nil: none
	// Each begins the counted part; nil: nothing does.
	Begin func(context.Context) error
}

// Latency of what was answered without an error, in microseconds.
type Latency struct {
	P50  int64 `json:"p50_us"`
	P90  int64 `json:"p90_us"`
	P99  int64 `json:"p99_us"`
	P999 int64 `json:"p99.9_us"`
	Max  int64 `json:"max_us"`
}

// Rate is what a load reached.
type Rate struct {
	Seconds    float64          `json:"seconds"`
	Operations int64            `json:"operations"` // answered without an error
	PerSecond  float64          `json:"operations_per_second"`
	Latency    Latency          `json:"latency"`
	Errors     map[string]int64 `json:"errors,omitempty"` // by reason
	Gap        int64            `json:"longest_gap_us"`   // between two answers, of whichever workers
}

// worker counts for itself; only the total is shared.
type worker struct {
	latency *hdrhistogram.Histogram
	errors  map[string]int64
}

// run is the state that the workers of a load share.
type run struct {
	counting atomic.Bool
	done     atomic.Int64
	answered atomic.Int64 // when the last answer came, nanoseconds since begin
	gap      atomic.Int64
	begin    time.Time
}

// Drive runs the load; op gets its worker's number. Errors are counted; one of ctx
// ends the load.
func (l Load) Drive(ctx context.Context, op func(ctx context.Context, worker int) error) (Rate, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &run{begin: time.Now()}
	workers := make([]worker, l.Workers)
	var wg sync.WaitGroup
	for i := range workers {
		workers[i] = worker{hdrhistogram.New(1, longest.Microseconds(), figures), map[string]int64{}}
		wg.Go(func() { r.work(ctx, &workers[i], func() error { return op(ctx, i) }) })
	}
	took, err := l.count(ctx, r)
	cancel()
	wg.Wait()
	return r.rate(workers, took), err
}

// count lets the load warm up, and then counts for its duration.
func (l Load) count(ctx context.Context, r *run) (time.Duration, error) {
	if err := l.wait(ctx, r, l.WarmUp, "warming up"); err != nil {
		return 0, err
	}
	if l.Begin != nil {
		if err := l.Begin(ctx); err != nil {
			return 0, err
		}
	}
	begin := time.Now()
	r.answered.Store(int64(begin.Sub(r.begin)))
	r.done.Store(0)
	r.counting.Store(true)
	err := l.wait(ctx, r, l.Duration, "measuring")
	r.counting.Store(false)
	return time.Since(begin), err
}

func (l Load) wait(ctx context.Context, r *run, d time.Duration, what string) error {
	end, tick := time.NewTimer(d), time.NewTicker(progressEvery)
	defer end.Stop()
	defer tick.Stop()
	begin, before := time.Now(), r.done.Load()
	for {
		select {
		case <-end.C:
			if l.Progress != nil {
				_, _ = fmt.Fprint(l.Progress, "\r\x1b[K")
			}
			return ctx.Err()
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if l.Progress != nil {
				done := r.done.Load()
				_, _ = fmt.Fprintf(l.Progress, "\r\x1b[K%s, %d workers: %.0f s of %.0f s, %.0f/s", what, l.Workers,
					time.Since(begin).Seconds(), d.Seconds(), float64(done-before)/progressEvery.Seconds())
				before = done
			}
		}
	}
}

func (r *run) work(ctx context.Context, w *worker, op func() error) {
	for ctx.Err() == nil {
		begin := time.Now()
		err := op()
		took := time.Since(begin)
		if err != nil && ctx.Err() != nil {
			return // the load ended
		}
		if !r.counting.Load() {
			r.done.Add(1)
			if err != nil {
				pauseAfterError(ctx)
			}
			continue
		}
		if err != nil {
			w.errors[reason(err)]++
			pauseAfterError(ctx)
			continue
		}
		r.done.Add(1)
		r.note(time.Since(r.begin))
		_ = w.latency.RecordValue(min(took, longest).Microseconds())
	}
}

// pauseAfterError keeps a load that is refused from being a flood.
func pauseAfterError(ctx context.Context) {
	select {
	case <-time.After(time.Millisecond):
	case <-ctx.Done():
	}
}

// note keeps the longest time without an answer.
func (r *run) note(at time.Duration) {
	gap := int64(at) - r.answered.Swap(int64(at))
	for {
		most := r.gap.Load()
		if gap <= most || r.gap.CompareAndSwap(most, gap) {
			return
		}
	}
}

func (r *run) rate(workers []worker, took time.Duration) Rate {
	all := hdrhistogram.New(1, longest.Microseconds(), figures)
	out := Rate{Seconds: took.Seconds(), Errors: map[string]int64{}, Gap: r.gap.Load() / 1000}
	for _, w := range workers {
		all.Merge(w.latency)
		for why, n := range w.errors {
			out.Errors[why] += n
		}
	}
	out.Operations = all.TotalCount()
	if out.Seconds > 0 {
		out.PerSecond = float64(out.Operations) / out.Seconds
	}
	out.Latency = Latency{
		P50: all.ValueAtQuantile(50), P90: all.ValueAtQuantile(90), P99: all.ValueAtQuantile(99),
		P999: all.ValueAtQuantile(99.9), Max: all.Max(),
	}
	return out
}

// reason is a stable word for an error, with nothing of the request in it.
func reason(err error) string {
	var e *client.Error
	switch {
	case errors.As(err, &e) && e.Reason != "":
		return e.Reason
	case errors.As(err, &e):
		return e.Code.String()
	case errors.Is(err, context.DeadlineExceeded):
		return "DEADLINE"
	}
	return status.Code(err).String()
}
