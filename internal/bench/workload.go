package bench

import (
	"context"
	"errors"
	"math/rand/v2"

	"github.com/hexrdev/hexrd/client"
)

// operation returns what a worker does over and over.
func (c *callers) operation(workload string) func(context.Context, int) error {
	each, value := c.cfg.each(), payload(c.cfg.ValueSize)
	get := func(ctx context.Context, w int) error {
		_, err := c.clients[w].Get(ctx, path(rand.IntN(each)))
		return err
	}
	put := func(ctx context.Context, w int) error {
		_, err := c.clients[w].Put(ctx, path(rand.IntN(each)), value, client.PutOptions{})
		return err
	}
	switch workload {
	case Put:
		return put
	case Mix:
		return func(ctx context.Context, w int) error {
			if rand.IntN(10) == 0 {
				return put(ctx, w)
			}
			return get(ctx, w)
		}
	case List:
		return c.list
	case BatchGet:
		return c.batchGet
	case Denied:
		return c.deniedPut(value)
	}
	return get
}

// list reads one page.
func (c *callers) list(ctx context.Context, w int) error {
	n := 0
	for _, err := range c.clients[w].List(ctx, client.ListOptions{Prefix: pathPrefix, PageSize: uint32(c.cfg.Batch)}) {
		if err != nil {
			return err
		}
		if n++; n == c.cfg.Batch {
			break
		}
	}
	return nil
}

func (c *callers) batchGet(ctx context.Context, w int) error {
	paths := make([]string, c.cfg.Batch)
	from := rand.IntN(c.cfg.each())
	for i := range paths {
		paths[i] = path((from + i) % c.cfg.each())
	}
	results, err := c.clients[w].BatchGet(ctx, paths, "")
	for _, r := range results {
		if r.Err != nil {
			return r.Err
		}
	}
	return err
}

var (
	errStored  = errors.New("a put into the scope of the tenant was not denied")
	errNoAgent = errors.New("only agents are denied a put into the scope of their tenant")
)

// deniedPut puts into the scope of the caller's tenant, which agents only read.
func (c *callers) deniedPut(value []byte) func(context.Context, int) error {
	scopes := make([]string, len(c.clients))
	return func(ctx context.Context, w int) error {
		if scopes[w] == "" {
			who, err := c.clients[w].WhoAmI(ctx)
			if err != nil {
				return err
			}
			if len(who.GetScopes()) == 0 {
				return errNoAgent
			}
			scopes[w] = who.GetScopes()[len(who.GetScopes())-1]
		}
		_, err := c.clients[w].Put(ctx, path(rand.IntN(c.cfg.each())), value, client.PutOptions{Scope: scopes[w]})
		switch {
		case err == nil:
			return errStored
		case errors.Is(err, client.ErrDenied):
			return nil
		}
		return err
	}
}

// payload is a value that does not compress.
func payload(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}
