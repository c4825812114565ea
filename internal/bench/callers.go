package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hexrdev/hexrd/client"
)

const (
	writers     = 128 // that prepare the secrets
	pathPattern = "bench/%07d"
	pathPrefix  = "bench/"
)

// callers are the clients of a load: one for each pair of identity and node that
// a worker has.
type callers struct {
	cfg     Config
	clients []*client.Client // of each worker
	owner   []int            // the identity of each worker
	made    map[pair]*client.Client
}

type pair struct {
	identity int
	addr     string
}

// openCallers gives every worker an identity and a node, in turns.
func openCallers(ctx context.Context, c Config, workers int, addrs []string) (*callers, error) {
	out := &callers{cfg: c, made: map[pair]*client.Client{}}
	for w := range workers {
		p := pair{w % len(c.Identities), addrs[w%len(addrs)]}
		if out.made[p] == nil {
			cfg := c.Identities[p.identity]
			cfg.Addrs = []string{p.addr}
			cl, err := client.Dial(ctx, cfg)
			if err != nil {
				return nil, errors.Join(err, out.close())
			}
			out.made[p] = cl
		}
		out.clients, out.owner = append(out.clients, out.made[p]), append(out.owner, p.identity)
	}
	return out, nil
}

func (c *callers) close() error {
	var errs []error
	for _, cl := range c.made {
		errs = append(errs, cl.Close())
	}
	return errors.Join(errs...)
}

// prepare writes the secrets of every identity from the number from on, once each.
func prepare(ctx context.Context, c Config, from int) error {
	addrs := make([]string, 0, len(c.Nodes))
	for _, n := range c.Nodes {
		addrs = append(addrs, n.Addr)
	}
	workers := max(writers, len(c.Identities))
	callers, err := openCallers(ctx, c, workers, addrs)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make([]atomic.Int64, len(c.Identities)) // secret of each identity
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			value := payload(c.ValueSize)
			for ctx.Err() == nil {
				n := from + int(next[callers.owner[w]].Add(1)) - 1
				if n >= c.each() {
					return
				}
				if _, err := callers.clients[w].Put(ctx, path(n), value, client.PutOptions{}); err != nil {
					cancel(fmt.Errorf("write the secrets to read: %w", err))
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(context.Cause(ctx), callers.close())
}

func path(n int) string { return fmt.Sprintf(pathPattern, n) }
