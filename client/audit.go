package client

import (
	"context"
	"errors"
	"io"
	"iter"

	"google.golang.org/grpc"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

// AuditQuery iterates over the audit rows that a query selects, ascending. What
// the query's Cursor and PageSize say is where and how it begins.
func (c *Client) AuditQuery(ctx context.Context, req *hexrv1.QueryRequest) iter.Seq2[*hexrv1.AuditRow, error] {
	return func(yield func(*hexrv1.AuditRow, error) bool) {
		for {
			resp, err := call(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (*hexrv1.QueryResponse, error) {
				return hexrv1.NewAuditClient(n).Query(ctx, req)
			})
			if err != nil {
				yield(nil, err)
				return
			}
			for _, r := range resp.GetRows() {
				if !yield(r, nil) {
					return
				}
			}
			if req.Cursor = resp.GetNextCursor(); req.Cursor == "" {
				return
			}
		}
	}
}

// AuditTail calls fn with rows as they are appended, until ctx ends or fn fails.
// When a node ends the stream it goes on at another, without a gap.
func (c *Client) AuditTail(ctx context.Context, req *hexrv1.TailRequest, fn func(*hexrv1.AuditRow) error) error {
	for tries := 0; ; {
		at := c.at.Load()
		err := tail(ctx, c.nodes[at], req, func(r *hexrv1.AuditRow) error {
			tries = 0
			next := r.GetIndex() + 1
			req.From = &next
			return fn(r)
		})
		if ctx.Err() != nil || !retriable(err) || tries >= c.cfg.Retries {
			return err
		}
		tries++
		c.at.CompareAndSwap(at, (at+1)%uint32(len(c.nodes)))
	}
}

func tail(ctx context.Context, n grpc.ClientConnInterface, req *hexrv1.TailRequest, fn func(*hexrv1.AuditRow) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := hexrv1.NewAuditClient(n).Tail(ctx, req)
	if err != nil {
		return fromStatus(err)
	}
	for {
		resp, err := stream.Recv()
		if err != nil {
			return fromStatus(err)
		}
		for _, r := range resp.GetRows() {
			if err := fn(r); err != nil {
				return err
			}
		}
	}
}

// AuditVerify streams what is needed to recompute the audit tree: the roots that
// the nodes claim, then every encoded row. The caller compares; see audit.Verifier.
func (c *Client) AuditVerify(ctx context.Context, sizes []uint64, header func(*hexrv1.VerifyHeader) error, row func([]byte) error) error {
	_, err := call(ctx, c, func(_ context.Context, n grpc.ClientConnInterface) (struct{}, error) {
		return struct{}{}, verify(ctx, n, sizes, header, row) // as long as it takes, not an attempt's time
	})
	return err
}

// AuditCheckpoint is the audit's tree of now, signed by a majority of the members.
func (c *Client) AuditCheckpoint(ctx context.Context) (*hexrv1.CheckpointResponse, error) {
	return call(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (*hexrv1.CheckpointResponse, error) {
		return hexrv1.NewAuditClient(n).Checkpoint(ctx, &hexrv1.CheckpointRequest{})
	})
}

func verify(ctx context.Context, n grpc.ClientConnInterface, sizes []uint64, header func(*hexrv1.VerifyHeader) error, row func([]byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := hexrv1.NewAuditClient(n).Verify(ctx, &hexrv1.VerifyRequest{Sizes: sizes})
	if err != nil {
		return err
	}
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h := resp.GetHeader(); h != nil {
			if err := header(h); err != nil {
				return err
			}
		}
		for _, r := range resp.GetRows().GetRows() {
			if err := row(r); err != nil {
				return err
			}
		}
	}
}
