package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	arrivalWorkers = 32
	arrivalSources = 100 // loopback addresses: a node lets each begin 100 handshakes a second
	leftLimit      = 30 * time.Second
	settled        = 5 * time.Second
)

// burst opens many connections to a node that come and go, and looks at what stays
// of them.
func (r *standard) burst(ctx context.Context) ([]Row, error) {
	if r.Arrivals == 0 {
		return nil, nil
	}
	n := r.nodes[0]
	id, err := load(r.Identities[0])
	if err != nil {
		return nil, err
	}
	cfg := id.client()
	cfg.NextProtos = []string{"h2"}
	// What a node starts once, for its first callers and after a failover, is not left by
	// the burst.
	if err := errors.Join(arrive(ctx, n.Addr, cfg, arrivalSources), sleep(ctx, settled)); err != nil {
		return nil, fmt.Errorf("first connections: %w", err)
	}
	before, err := afterCollection(ctx, n)
	if err != nil {
		return nil, err
	}
	ran, err := goroutines(ctx, n)
	if err != nil {
		return nil, err
	}
	if err := arrive(ctx, n.Addr, cfg, r.Arrivals); err != nil {
		return nil, fmt.Errorf("burst of connections: %w", err)
	}
	// What stays is in each sample; what a node does for itself, and for who asks, is not.
	stayed, heap := math.Inf(1), math.Inf(1)
	for end := time.Now().Add(leftLimit); ; {
		after, err := afterCollection(ctx, n)
		if err != nil {
			return nil, err
		}
		stayed, heap = min(stayed, after[mGoroutines]-before[mGoroutines]), min(heap, after[mHeap]-before[mHeap])
		if stayed <= 0 && heap <= 0 || time.Now().After(end) {
			break
		}
		if err := sleep(ctx, time.Second); err != nil {
			return nil, err
		}
	}
	run, err := goroutines(ctx, n)
	if err != nil {
		return nil, err
	}
	r.say("burst of %d: %+.0f goroutines, %+.0f bytes; %s", r.Arrivals, stayed, heap, more(ran, run))
	what := fmt.Sprintf(" left after %d connections came and went", r.Arrivals)
	return []Row{
		Row{Name: "goroutines" + what, Value: max(0, stayed)}.atMost(0),
		// What a node allocates for itself meanwhile is in there.
		Row{Name: "memory" + what, Value: max(0, heap) / (1 << 20), Unit: "MiB"}.atMost(1),
	}, nil
}

// afterCollection is a node's sample with no garbage in it.
func afterCollection(ctx context.Context, n Node) (Sample, error) {
	c := adminClient(n)
	defer c.CloseIdleConnections()
	for range 2 { // what the first one finds unused is freed by the second
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://node/debug/pprof/heap?gc=1", nil)
		if err != nil {
			return nil, err
		}
		resp, err := c.Do(req)
		if err != nil {
			return nil, fmt.Errorf("collect a node's garbage: %w", err)
		}
		_ = resp.Body.Close()
	}
	return AdminSockets{}.Scrape(ctx, n)
}

// arrive makes connections, each until the server's first bytes, from many
// addresses.
func arrive(ctx context.Context, addr string, cfg *tls.Config, many int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range arrivalWorkers {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := next.Add(1)
				if i > int64(many) {
					return
				}
				from := net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%arrivalSources))}
				if err := visit(ctx, &net.Dialer{LocalAddr: &from, Timeout: scrapeTimeout}, addr, cfg); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func visit(ctx context.Context, from *net.Dialer, addr string, cfg *tls.Config) error {
	conn, err := (&tls.Dialer{NetDialer: from, Config: cfg}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	var first [1]byte
	_, err = conn.Read(first[:])
	return errors.Join(err, conn.Close())
}
