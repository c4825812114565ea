package client

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/internal/frames"
)

// stuck is a node that never answers, with sessions or without.
type stuck struct {
	hexrv1.UnimplementedVaultServer
	ctx   context.Context
	begun chan context.Context
}

func (s stuck) Get(ctx context.Context, _ *hexrv1.GetRequest) (*hexrv1.GetResponse, error) {
	s.begun <- ctx
	<-ctx.Done()
	return nil, ctx.Err()
}

func (s stuck) carry(calls *frames.Conn) {
	under := map[uint64]context.CancelFunc{}
	for {
		call := &hexrv1.Call{}
		if calls.Read(call) != nil {
			for _, cancel := range under { // a connection's end is its calls'
				cancel()
			}
			return
		}
		for _, id := range call.GetCancelled() {
			under[id]()
		}
		if call.GetMethod() != "" {
			var ctx context.Context
			ctx, under[call.GetId()] = context.WithCancel(s.ctx)
			s.begun <- ctx
		}
	}
}

func stuckNode(t *testing.T, begun chan context.Context, sessions bool) *node {
	t.Helper()
	s := stuck{ctx: context.WithoutCancel(t.Context()), begun: begun}
	if sessions {
		return serveNode(t, s, s.carry)
	}
	return serveNode(t, s, nil)
}

// A try ends after its time, at the node too, and the next node is asked; the call
// ends after its own time, as one that was late.
func TestStuckNodes(t *testing.T) {
	for _, sessions := range []bool{false, true} {
		t.Run(fmt.Sprintf("sessions: %t", sessions), func(t *testing.T) {
			const nodes = 3
			begun := make(chan context.Context, 100)
			c := &Client{cfg: Config{Timeout: time.Second, AttemptTimeout: 100 * time.Millisecond}.withDefaults()}
			for range nodes {
				c.nodes = append(c.nodes, stuckNode(t, begun, sessions))
			}
			begin := time.Now()
			_, err := c.Get(t.Context(), "db/password")
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the call ended with %v", err)
			}
			if took := time.Since(begin); took < 300*time.Millisecond {
				t.Errorf("the call ended after %v: not every node was asked", took)
			}
			if n := len(begun); n < nodes {
				t.Errorf("%d nodes were asked", n)
			}
			for len(begun) > 0 {
				select {
				case <-(<-begun).Done():
				case <-time.After(10 * time.Second):
					t.Fatal("a node was not told of a call's end")
				}
			}
		})
	}
}

// Who calls with a deadline gets its own end, not that of a try.
func TestCallersDeadline(t *testing.T) {
	for _, sessions := range []bool{false, true} {
		begun := make(chan context.Context, 100)
		c := &Client{cfg: Config{}.withDefaults(), nodes: []*node{stuckNode(t, begun, sessions)}}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if _, err := c.Get(ctx, "db/password"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the call ended with %v", err)
		}
		if n := len(begun); n != 1 {
			t.Errorf("%d tries", n)
		}
	}
}
