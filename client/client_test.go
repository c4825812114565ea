package client

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

// stuck is a node that never answers.
type stuck struct {
	hexrv1.UnimplementedVaultServer
	begun chan context.Context
}

func (s stuck) Get(ctx context.Context, _ *hexrv1.GetRequest) (*hexrv1.GetResponse, error) {
	s.begun <- ctx
	<-ctx.Done()
	return nil, ctx.Err()
}

func stuckNode(t *testing.T, begun chan context.Context) *node {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	hexrv1.RegisterVaultServer(server, stuck{begun: begun})
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///"+listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(t.Context(), conn)
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return n
}

// A try ends after its time, at the node too, and the next node is asked; the call
// ends after its own time, as one that was late.
func TestStuckNodes(t *testing.T) {
	const nodes = 3
	begun := make(chan context.Context, 100)
	c := &Client{cfg: Config{Timeout: time.Second, AttemptTimeout: 100 * time.Millisecond}.withDefaults()}
	for range nodes {
		c.nodes = append(c.nodes, stuckNode(t, begun))
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
}

// Who calls with a deadline gets its own end, not that of a try.
func TestCallersDeadline(t *testing.T) {
	begun := make(chan context.Context, 100)
	c := &Client{cfg: Config{}.withDefaults(), nodes: []*node{stuckNode(t, begun)}}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := c.Get(ctx, "db/password"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the call ended with %v", err)
	}
	if n := len(begun); n != 1 {
		t.Errorf("%d tries", n)
	}
}
