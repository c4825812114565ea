package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

type carry = func(grpc.BidiStreamingServer[hexrv1.Call, hexrv1.Answer]) error

// scripted is a node whose session is the test's; calls of their own are answered
// with "alone".
type scripted struct {
	hexrv1.UnimplementedVaultServer
	hexrv1.UnimplementedSessionServer
	carry    carry
	sessions atomic.Int32
}

func (s *scripted) Get(context.Context, *hexrv1.GetRequest) (*hexrv1.GetResponse, error) {
	return &hexrv1.GetResponse{Value: []byte("alone")}, nil
}

func (s *scripted) Put(context.Context, *hexrv1.PutRequest) (*hexrv1.PutResponse, error) {
	return &hexrv1.PutResponse{Scope: "alone"}, nil
}

func (s *scripted) Carry(stream grpc.BidiStreamingServer[hexrv1.Call, hexrv1.Answer]) error {
	s.sessions.Add(1)
	return s.carry(stream)
}

func (s *scripted) client(t *testing.T) *Client {
	t.Helper()
	return &Client{cfg: Config{Retries: 3}.withDefaults(), nodes: []*node{serveNode(t, s, s)}}
}

// serveNode is a connection to a node in this process; sessions may be nil.
func serveNode(t *testing.T, vault hexrv1.VaultServer, sessions hexrv1.SessionServer) *node {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	hexrv1.RegisterVaultServer(server, vault)
	if sessions != nil {
		hexrv1.RegisterSessionServer(server, sessions)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///"+listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(context.WithoutCancel(t.Context()), conn)
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

func answerTo(t *testing.T, call *hexrv1.Call) *hexrv1.Answer {
	t.Helper()
	var req hexrv1.GetRequest
	err1 := proto.Unmarshal(call.GetRequest(), &req)
	data, err2 := proto.Marshal(&hexrv1.GetResponse{Path: req.GetPath(), Value: []byte("carried")})
	if err := errors.Join(err1, err2); err != nil {
		t.Error(err)
	}
	return &hexrv1.Answer{Id: call.GetId(), Result: &hexrv1.Answer_Response{Response: data}}
}

// Calls share a session; each gets its own answer, in whatever order they come, and
// a failure as what it is.
func TestSessionAnswers(t *testing.T) {
	const calls = 5
	s := &scripted{carry: func(stream grpc.BidiStreamingServer[hexrv1.Call, hexrv1.Answer]) error {
		var came []*hexrv1.Call
		for range calls {
			call, err := stream.Recv()
			if err != nil {
				return err
			}
			came = append(came, call)
		}
		if err := stream.Send(&hexrv1.Answer{Id: 1 << 60}); err != nil { // to a call that nobody made
			return err
		}
		for i := len(came) - 1; i >= 0; i-- {
			if err := stream.Send(answerTo(t, came[i])); err != nil {
				return err
			}
		}
		call, err := stream.Recv()
		if err != nil {
			return err
		}
		failed := &hexrv1.Error{Code: "PERMISSION_DENIED", Reason: "DENIED", Message: "no", RequestId: "ab"}
		if err := stream.Send(&hexrv1.Answer{Id: call.GetId(), Result: &hexrv1.Answer_Error{Error: failed}}); err != nil {
			return err
		}
		<-stream.Context().Done()
		return nil
	}}
	c := s.client(t)
	var running sync.WaitGroup
	for i := range calls {
		running.Go(func() {
			path := fmt.Sprint("k", i)
			got, err := c.Get(t.Context(), path)
			if err != nil || got.Path != path || got.Text() != "carried" {
				t.Errorf("%s is answered %s, %v", path, got.Path, err)
			}
		})
	}
	running.Wait()
	var e *Error
	if _, err := c.Get(t.Context(), "k"); !errors.As(err, &e) || !errors.Is(err, ErrDenied) || e.Reason != "DENIED" || e.RequestID != "ab" {
		t.Errorf("a failure arrives as %v", err)
	}
	if n := s.sessions.Load(); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// A session that breaks takes its calls along; they are tried again on the next one.
func TestSessionBreaks(t *testing.T) {
	s := &scripted{}
	s.carry = func(stream grpc.BidiStreamingServer[hexrv1.Call, hexrv1.Answer]) error {
		call, err := stream.Recv()
		if err != nil {
			return err
		}
		switch s.sessions.Load() {
		case 1:
			return status.Error(codes.Unavailable, "broken")
		case 2:
			return nil // as a node that ends without a word
		}
		if err := stream.Send(answerTo(t, call)); err != nil {
			return err
		}
		<-stream.Context().Done()
		return nil
	}
	got, err := s.client(t).Get(t.Context(), "k")
	if err != nil || got.Text() != "carried" || s.sessions.Load() != 3 {
		t.Errorf("%s, %v, %d sessions", got.Text(), err, s.sessions.Load())
	}
}

// Where a node has no session for it, a client makes calls of their own, and does not
// ask for a session each time.
func TestSessionRefused(t *testing.T) {
	for _, code := range []codes.Code{codes.Unimplemented, codes.ResourceExhausted} {
		s := &scripted{carry: func(grpc.BidiStreamingServer[hexrv1.Call, hexrv1.Answer]) error { return status.Error(code, "no") }}
		c := s.client(t)
		for range 5 {
			if got, err := c.Get(t.Context(), "k"); err != nil || got.Text() != "alone" {
				t.Fatal(got.Text(), err)
			}
		}
		if n := s.sessions.Load(); n != 1 {
			t.Errorf("%v: %d sessions were asked for", code, n)
		}
	}
}

// What is large goes on its own, and so does what comes while a node leaves much
// unanswered: nobody waits for it to read.
func TestSessionIsBounded(t *testing.T) {
	came := make(chan *hexrv1.Call, 100)
	s := &scripted{carry: func(stream grpc.BidiStreamingServer[hexrv1.Call, hexrv1.Answer]) error {
		for {
			call, err := stream.Recv()
			if err != nil {
				return err
			}
			came <- call
		}
	}}
	c := s.client(t)
	if r, err := c.Put(t.Context(), "k", make([]byte, carriedMost), PutOptions{}); err != nil || r.GetScope() != "alone" {
		t.Fatalf("a large put: %v %v", r.GetScope(), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	const size = 10 << 10
	for range unansweredMost / size {
		running.Go(func() {
			if _, err := c.Put(ctx, "k", make([]byte, size), PutOptions{}); !errors.Is(err, context.Canceled) {
				t.Errorf("a put that nobody answers ends with %v", err)
			}
		})
		<-came
	}
	if r, err := c.Put(t.Context(), "k", make([]byte, size), PutOptions{}); err != nil || r.GetScope() != "alone" {
		t.Fatalf("one put more: %v %v", r.GetScope(), err)
	}
	cancel()
	running.Wait()
	told := map[uint64]bool{}
	for len(told) < unansweredMost/size {
		for _, id := range (<-came).GetCancelled() {
			told[id] = true
		}
	}
}
