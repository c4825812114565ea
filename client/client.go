package client

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

const (
	maxMessage  = 16 << 20
	firstPause  = 20 * time.Millisecond
	maxPause    = 500 * time.Millisecond
	dialTimeout = 2 * time.Second // a node that hangs is left early

	// Windows that do not adapt: to measure what they should be, gRPC answers each
	// answer with a ping, and so doubles what a call writes and reads. A stream's
	// grows by itself for a message that is larger.
	streamWindow = 64 << 10
	connWindow   = 1 << 20
)

// Client talks to a cluster. It is safe for concurrent use.
type Client struct {
	cfg    Config
	source source
	nodes  []*node
	at     atomic.Uint32 // the node that answered last
}

// Dial gets an identity and prepares connections; it makes none yet. ctx bounds
// Dial alone.
func Dial(ctx context.Context, c Config) (*Client, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	src, err := openSource(ctx, c)
	if err != nil {
		return nil, err
	}
	tlsCfg, err := tlsConfig(src)
	if err != nil {
		return nil, errors.Join(err, src.Close())
	}
	cl := &Client{cfg: c, source: src}
	for _, addr := range c.addrs() {
		conn, err := grpc.NewClient("passthrough:///"+addr,
			grpc.WithTransportCredentials(credentials.NewTLS(tlsCfg)),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, MaxDelay: time.Second},
				MinConnectTimeout: dialTimeout,
			}),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 5 * time.Second}),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
			grpc.WithDisableServiceConfig(),
			grpc.WithStaticStreamWindowSize(streamWindow), grpc.WithStaticConnWindowSize(connWindow),
		)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("dial %s: %w", addr, err), cl.Close())
		}
		cl.nodes = append(cl.nodes, newNode(context.WithoutCancel(ctx), conn, dialSessions(addr, tlsCfg)))
	}
	cl.at.Store(mathrand.Uint32N(uint32(len(cl.nodes))))
	return cl, nil
}

// Close ends all connections.
func (c *Client) Close() error {
	errs := []error{c.source.Close()}
	for _, n := range c.nodes {
		errs = append(errs, n.Close())
	}
	return errors.Join(errs...)
}

// call tries nodes until one answers for good, the budget is used up, or ctx
// ends.
func call[R any](ctx context.Context, c *Client, do func(context.Context, grpc.ClientConnInterface) (R, error)) (R, error) {
	end := time.Now().Add(c.cfg.Timeout)
	if at, ok := ctx.Deadline(); ok {
		end = at
	}
	pause, stayed := firstPause, false
	for try := 0; ; try++ {
		at := c.at.Load()
		resp, err := attempt(ctx, min(c.cfg.AttemptTimeout, time.Until(end)), c.nodes[at], do)
		if err == nil || !retriable(err) || ctx.Err() != nil || try >= c.cfg.Retries {
			return resp, err
		}
		// A node that lost its leader meanwhile is there, and knows the next one; who
		// comes after it may be the node that was lost.
		if stayed = unknown(err) && !stayed; !stayed {
			c.at.CompareAndSwap(at, (at+1)%uint32(len(c.nodes)))
		}
		wait := time.Duration(0) // the others first, at once
		if try >= len(c.nodes)-1 {
			wait = pause/2 + mathrand.N(pause)
			pause = min(2*pause, maxPause)
		}
		if time.Until(end) <= wait {
			return resp, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return resp, err
		}
	}
}

// attempt ends a try that takes too long. A deadline would do so too, but travel to
// the node, which then keeps two timers for it: to hear of the end is enough.
func attempt[R any](
	ctx context.Context, most time.Duration, to *node, do func(context.Context, grpc.ClientConnInterface) (R, error),
) (R, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.AfterFunc(most, cancel)
	resp, err := do(ctx, to)
	err = fromStatus(err)
	if !late.Stop() && errors.Is(err, context.Canceled) {
		err = fromStatus(status.FromContextError(context.DeadlineExceeded).Err())
	}
	return resp, err
}

func vault(conn grpc.ClientConnInterface) hexrv1.VaultClient { return hexrv1.NewVaultClient(conn) }
