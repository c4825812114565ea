package client

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

const (
	// silence is how long a node's watch may say nothing: it gives a bookmark every
	// 2 s.
	silence = 7 * time.Second
	// maxWatchPause is between tries to open a watch again.
	maxWatchPause = 2 * time.Second
)

// WatchOptions select what is watched. The zero value is all that the caller may
// read, from now on.
type WatchOptions struct {
	Prefix string // of paths
	Path   string // exactly this one, in place of a prefix
	Scope  string // provisioners and operators name one
	After  string // the cursor of an event seen before
}

// Watch calls fn with each event, until ctx ends, fn fails, or the caller may not
// watch any more. The first one is a BOOKMARK: read what matters after it, and no
// change is missed. When a node goes away it goes on at another, behind the last
// event that fn has seen: each change comes once, in order. RESYNC says that
// changes were lost, since nobody was connected for too long: read again.
func (c *Client) Watch(ctx context.Context, o WatchOptions, fn func(*hexrv1.WatchEvent) error) error {
	req := &hexrv1.WatchRequest{Prefix: o.Prefix, Path: o.Path, Scope: o.Scope, After: o.After}
	w := &watch{client: c, req: req, fn: fn}
	pause := firstPause
	for {
		w.heard = false
		at := c.at.Load()
		err := w.follow(ctx, c.nodes[at])
		switch {
		case w.failed != nil:
			return w.failed
		case ctx.Err() != nil:
			return ctx.Err()
		case !w.again(err):
			return err
		}
		c.at.CompareAndSwap(at, (at+1)%uint32(len(c.nodes)))
		if w.heard {
			pause = firstPause
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
			pause = min(2*pause, maxWatchPause)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watch is one over all the nodes that it goes to.
type watch struct {
	client *Client
	req    *hexrv1.WatchRequest
	fn     func(*hexrv1.WatchEvent) error
	begun  bool  // an event came, from any node
	heard  bool  // an event came from this node
	failed error // of fn
}

// again: the watch may go on, at another node or in a while.
func (w *watch) again(err error) bool {
	var e *Error
	if retriable(err) || errors.Is(err, io.EOF) {
		return true
	}
	if !errors.As(err, &e) {
		return false
	}
	switch e.Reason {
	case "SLOW_CONSUMER":
		return true
	case "RATE_LIMITED", "TOO_MANY_STREAMS": // one that has ended may still count
		return w.begun
	}
	return false
}

// follow shows the events of one node, until it ends the stream or falls silent.
func (w *watch) follow(ctx context.Context, n grpc.ClientConnInterface) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	quiet := time.AfterFunc(w.client.cfg.AttemptTimeout+silence, cancel)
	defer quiet.Stop()
	stream, err := vault(n).Watch(ctx, w.req)
	if err != nil {
		return fromStatus(err)
	}
	for {
		e, err := stream.Recv()
		if err != nil {
			return fromStatus(err)
		}
		quiet.Stop() // fn may take its time
		if err := w.show(e); err != nil {
			w.failed = err
			return err
		}
		quiet.Reset(silence)
	}
}

func (w *watch) show(e *hexrv1.WatchEvent) error {
	again := w.begun && !w.heard && e.GetType() == hexrv1.WatchEvent_BOOKMARK
	w.begun, w.heard = true, true
	if !again { // a bookmark that only says where another node goes on is no news
		if err := w.fn(e); err != nil {
			return err
		}
	}
	w.req.After = e.GetCursor()
	return nil
}
