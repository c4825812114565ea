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
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/internal/frames"
)

// scripted is a node whose sessions are the test's; calls of their own are answered
// with "alone".
type scripted struct {
	hexrv1.UnimplementedVaultServer
	carry    func(*frames.Conn) // until it returns; nil: an older node
	sessions atomic.Int32       // asked for
}

func (s *scripted) Get(context.Context, *hexrv1.GetRequest) (*hexrv1.GetResponse, error) {
	return &hexrv1.GetResponse{Value: []byte("alone")}, nil
}

func (s *scripted) Put(context.Context, *hexrv1.PutRequest) (*hexrv1.PutResponse, error) {
	return &hexrv1.PutResponse{Scope: "alone"}, nil
}

func (s *scripted) client(t *testing.T) *Client {
	t.Helper()
	n := serveNode(t, s, s.carry)
	dial := n.dial
	n.dial = func(ctx context.Context) (net.Conn, error) {
		s.sessions.Add(1)
		return dial(ctx)
	}
	return &Client{cfg: Config{Retries: 3}.withDefaults(), nodes: []*node{n}}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serveNode is a way to a node in this process; without carry it knows no sessions.
func serveNode(t *testing.T, vault hexrv1.VaultServer, carry func(*frames.Conn)) *node {
	t.Helper()
	alone := listen(t)
	server := grpc.NewServer()
	hexrv1.RegisterVaultServer(server, vault)
	done := make(chan error, 1)
	go func() { done <- server.Serve(alone) }()
	conn, err := grpc.NewClient("passthrough:///"+alone.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	sessions := listen(t)
	var serving sync.WaitGroup
	serving.Go(func() { serveSessions(&serving, sessions, carry) })
	n := newNode(context.WithoutCancel(t.Context()), conn, func(ctx context.Context) (net.Conn, error) {
		if carry == nil {
			return nil, errAlone
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", sessions.Addr().String())
	})
	t.Cleanup(func() {
		err := errors.Join(n.Close(), sessions.Close())
		server.Stop()
		serving.Wait()
		if err := errors.Join(err, <-done); err != nil {
			t.Error(err)
		}
	})
	return n
}

func serveSessions(serving *sync.WaitGroup, l net.Listener, carry func(*frames.Conn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		serving.Go(func() {
			carry(frames.New(conn, 1<<20, takingTimeout))
			_ = conn.Close()
		})
	}
}

// take reads a call; nil: there are no more.
func take(calls *frames.Conn) *hexrv1.Call {
	call := &hexrv1.Call{}
	if calls.Read(call) != nil {
		return nil
	}
	return call
}

func say(t *testing.T, calls *frames.Conn, a *hexrv1.Answer) {
	t.Helper()
	if err := calls.Write(a); err != nil {
		t.Error(err)
	}
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

func failure(id uint64, code, reason string) *hexrv1.Answer {
	failed := &hexrv1.Error{Code: code, Reason: reason, Message: "no", RequestId: "ab"}
	return &hexrv1.Answer{Id: id, Result: &hexrv1.Answer_Error{Error: failed}}
}

// Calls share a session; each gets its own answer, in whatever order they come, and
// a failure as what it is.
func TestSessionAnswers(t *testing.T) {
	const together = 5
	s := &scripted{carry: func(calls *frames.Conn) {
		var came []*hexrv1.Call
		for range together {
			came = append(came, take(calls))
		}
		say(t, calls, &hexrv1.Answer{Id: 1 << 60}) // to a call that nobody made
		for i := len(came) - 1; i >= 0; i-- {
			say(t, calls, answerTo(t, came[i]))
		}
		say(t, calls, failure(take(calls).GetId(), "PERMISSION_DENIED", "DENIED"))
		take(calls)
	}}
	c := s.client(t)
	var running sync.WaitGroup
	for i := range together {
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

// A session that breaks takes its calls along; they are tried again on the next one,
// unless its last word says that this would not help.
func TestSessionBreaks(t *testing.T) {
	s := &scripted{}
	s.carry = func(calls *frames.Conn) {
		call := take(calls)
		switch s.sessions.Load() {
		case 1:
			say(t, calls, failure(0, "UNAVAILABLE", "STOPPING"))
		case 2: // as a node that ends without a word
		case 3:
			say(t, calls, answerTo(t, call))
			say(t, calls, failure(take(calls).GetId(), "UNAVAILABLE", "NO_LEADER"))
			take(calls)
			say(t, calls, failure(0, "UNAUTHENTICATED", "NO_IDENTITY"))
		}
	}
	c := s.client(t)
	got, err := c.Get(t.Context(), "k")
	if err != nil || got.Text() != "carried" || s.sessions.Load() != 3 {
		t.Errorf("%s, %v, %d sessions", got.Text(), err, s.sessions.Load())
	}
	var e *Error
	if _, err := c.Get(t.Context(), "k"); !errors.As(err, &e) || e.Reason != "NO_IDENTITY" || s.sessions.Load() != 3 {
		t.Errorf("the last word is %v, %d sessions", err, s.sessions.Load())
	}
}

// Where a node knows no sessions, a client makes calls of their own, and does not ask
// for a session each time.
func TestSessionUnknown(t *testing.T) {
	s := &scripted{}
	c := s.client(t)
	for range 5 {
		if got, err := c.Get(t.Context(), "k"); err != nil || got.Text() != "alone" {
			t.Fatal(got.Text(), err)
		}
	}
	if n := s.sessions.Load(); n != 1 {
		t.Errorf("%d sessions were asked for", n)
	}
}

// A node that can't be reached is not dialled for each call, and after a while again.
func TestSessionUnreached(t *testing.T) {
	s := &scripted{carry: func(calls *frames.Conn) {
		for call := take(calls); call != nil; call = take(calls) {
			say(t, calls, answerTo(t, call))
		}
	}}
	c := s.client(t)
	c.cfg.Retries = 1
	dial, dials := c.nodes[0].dial, 0
	c.nodes[0].dial = func(ctx context.Context) (net.Conn, error) {
		if dials++; dials < 4 {
			return nil, errors.New("not reached")
		}
		return dial(ctx)
	}
	tries := 0
	for {
		tries++
		_, err := c.Get(t.Context(), "k")
		if err == nil {
			break
		}
		if !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if dials != 4 || tries < dials {
		t.Errorf("%d dials for %d tries", dials, tries)
	}
}

// What is large goes on its own, and so does what comes while a node leaves much
// unanswered: nobody waits for it to read.
func TestSessionIsBounded(t *testing.T) {
	came := make(chan *hexrv1.Call, 100)
	s := &scripted{carry: func(calls *frames.Conn) {
		for call := take(calls); call != nil; call = take(calls) {
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

// A node that does not know what became of a call is asked once more before another is.
func TestUnknownOutcomeStays(t *testing.T) {
	for unknown, want := range []int32{0, 0, 1} {
		var first, second atomic.Int32
		c := (&scripted{carry: func(calls *frames.Conn) {
			for call := take(calls); call != nil; call = take(calls) {
				if int(first.Add(1)) <= unknown {
					say(t, calls, failure(call.GetId(), "UNAVAILABLE", "OUTCOME_UNKNOWN"))
				} else {
					say(t, calls, answerTo(t, call))
				}
			}
		}}).client(t)
		c.nodes = append(c.nodes, serveNode(t, &scripted{}, func(calls *frames.Conn) {
			for call := take(calls); call != nil; call = take(calls) {
				second.Add(1)
				say(t, calls, answerTo(t, call))
			}
		}))
		if _, err := c.Get(t.Context(), "k"); err != nil || second.Load() != want {
			t.Errorf("%d unknown outcomes: %v, the other node was asked %d times", unknown, err, second.Load())
		}
	}
}
