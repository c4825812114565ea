package api

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/audit"
)

// carrying is a server, and a session on it, whose gets take as long as the test
// wants: they are for nodes, whose limits need no store.
type carrying struct {
	t      *testing.T
	s      *Server
	conn   *grpc.ClientConn
	stream grpc.BidiStreamingClient[hexrv1.Call, hexrv1.Answer]
	begun  chan context.Context
	finish chan struct{}
}

func newCarrying(t *testing.T) *carrying {
	t.Helper()
	c := &carrying{t: t, begun: make(chan context.Context, 10), finish: make(chan struct{})}
	peer := Peer{ID: "spiffe://hexr.cloud/hexr/node/n1", Kind: "x509", NotAfter: time.Now().Add(time.Hour)}
	var err error
	c.s, err = New(Config{
		Backend: bug{}, TrustDomain: "hexr.cloud", PeerFromContext: func(context.Context) (Peer, bool) { return peer, true },
	})
	if err != nil {
		t.Fatal(err)
	}
	c.s.methods[hexrv1.Vault_Get_FullMethodName] = &method{hexrv1.Vault_Get_FullMethodName, nodes, audit.OpGet, unary(c.get)}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(c.s.GRPCOptions(false)...)
	c.s.RegisterGRPC(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	c.conn, err = grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.conn.Close()
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	c.stream = c.open()
	return c
}

func (c *carrying) open() grpc.BidiStreamingClient[hexrv1.Call, hexrv1.Answer] {
	c.t.Helper()
	stream, err := hexrv1.NewSessionClient(c.conn).Carry(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return stream
}

func (c *carrying) get(_ *Server, ctx context.Context, req *hexrv1.GetRequest) (*hexrv1.GetResponse, error) {
	if req.GetPath() == "panic" {
		panic(canary)
	}
	c.begun <- ctx
	select {
	case <-c.finish:
		return &hexrv1.GetResponse{Path: req.GetPath()}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *carrying) send(call *hexrv1.Call) {
	c.t.Helper()
	if err := c.stream.Send(call); err != nil {
		_, err = c.stream.Recv() // it says why
		c.t.Fatal(err)
	}
}

func (c *carrying) ask(id uint64, path string) context.Context {
	c.t.Helper()
	c.send(askFor(c.t, id, path))
	return <-c.begun
}

func askFor(t *testing.T, id uint64, path string) *hexrv1.Call {
	t.Helper()
	req, err := proto.Marshal(&hexrv1.GetRequest{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return &hexrv1.Call{Id: id, Method: hexrv1.Vault_Get_FullMethodName, Request: req}
}

// expect takes the next answer: a reason, or the path of a get.
func (c *carrying) expect(id uint64, want string) {
	c.t.Helper()
	a, err := c.stream.Recv()
	if err != nil {
		c.t.Fatal(err)
	}
	got := a.GetError().GetReason()
	if a.GetError() == nil {
		var resp hexrv1.GetResponse
		if err := proto.Unmarshal(a.GetResponse(), &resp); err != nil {
			c.t.Fatal(err)
		}
		got = resp.GetPath()
	}
	if a.GetId() != id || got != want {
		c.t.Fatalf("call %d is answered %q, want %d %q", a.GetId(), got, id, want)
	}
}

func (c *carrying) ends(code codes.Code) {
	c.t.Helper()
	if a, err := c.stream.Recv(); status.Code(err) != code {
		c.t.Fatalf("the session goes on with %v, or ends with %v", a, err)
	}
}

// A call that is cancelled ends alone; its id may be used again then.
func TestSessionCancel(t *testing.T) {
	c := newCarrying(t)
	stays, goes := c.ask(1, "stays"), c.ask(2, "goes")
	c.send(&hexrv1.Call{Cancelled: []uint64{2, 3}})
	c.expect(2, "CANCELED")
	if goes.Err() == nil || stays.Err() != nil {
		t.Fatalf("the one that is cancelled: %v, the other: %v", goes.Err(), stays.Err())
	}
	c.ask(2, "again")
	c.finish <- struct{}{}
	c.finish <- struct{}{}
	for range 2 {
		if a, err := c.stream.Recv(); err != nil || a.GetError() != nil {
			t.Fatal(a, err)
		}
	}
	last := c.ask(4, "left alone")
	if err := c.conn.Close(); err != nil {
		t.Fatal(err)
	}
	<-last.Done()
}

// What is under way is answered before a session ends, whoever ends it; what comes
// while the node stops is refused for certain.
func TestSessionEnds(t *testing.T) {
	t.Run("by the client", func(t *testing.T) {
		c := newCarrying(t)
		c.ask(1, "k")
		if err := c.stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		c.finish <- struct{}{}
		c.expect(1, "k")
		if a, err := c.stream.Recv(); err == nil {
			t.Fatal("it goes on", a)
		}
	})
	t.Run("by the node", func(t *testing.T) {
		c := newCarrying(t)
		c.ask(1, "k")
		c.s.EndStreams()
		for id := uint64(2); ; id++ { // until the node knows
			c.send(askFor(t, id, "late"))
			select {
			case <-c.begun:
				continue
			case <-time.After(50 * time.Millisecond):
			}
			c.expect(id, "STOPPING")
			break
		}
		close(c.finish)
		for {
			if _, err := c.stream.Recv(); err != nil {
				if status.Code(err) != codes.Unavailable {
					t.Fatal(err)
				}
				return
			}
		}
	})
}

// What is wrong costs its own call, or its own session.
func TestSessionRefuses(t *testing.T) {
	c := newCarrying(t)
	c.send(askFor(t, 1, "panic"))
	c.expect(1, "INTERNAL")
	for i, call := range []struct {
		method, request, want string
	}{
		{hexrv1.Vault_Get_FullMethodName, "\xff", "INVALID_ARGUMENT"},
		{hexrv1.Vault_Put_FullMethodName, "", "WRONG_CLASS"},
		{hexrv1.Vault_Watch_FullMethodName, "", "UNKNOWN_METHOD"},
		{hexrv1.Session_Carry_FullMethodName, "", "UNKNOWN_METHOD"},
		{"/hexr.cluster.v1.Peer/Propose", "", "UNKNOWN_METHOD"},
		{"/grpc.health.v1.Health/Check", "", "UNKNOWN_METHOD"},
		{"/hexr.v1.Vault/None", "", "UNKNOWN_METHOD"},
	} {
		id := uint64(10 + i)
		c.send(&hexrv1.Call{Id: id, Method: call.method, Request: []byte(call.request)})
		c.expect(id, call.want)
	}
	first := c.stream
	c.stream = c.open() // the connection has one already
	c.send(&hexrv1.Call{})
	c.ends(codes.ResourceExhausted)
	c.stream = first
	under := c.ask(1, "k")
	c.send(askFor(t, 1, "k"))
	<-under.Done()
	c.expect(1, "CANCELED")
	c.ends(codes.InvalidArgument)
	for _, call := range []*hexrv1.Call{
		{Id: 1, Method: hexrv1.Vault_Get_FullMethodName, Request: make([]byte, carriedMax+1)},
		{Cancelled: make([]uint64, cancelledMax+1)},
	} {
		c.again()
		c.send(call)
		c.ends(codes.InvalidArgument)
	}
	c.again()
}

// again opens another session, once the node knows that the last one has ended.
func (c *carrying) again() {
	c.t.Helper()
	for try := 0; ; try++ {
		c.stream = c.open()
		c.send(askFor(c.t, 1, "panic"))
		if _, err := c.stream.Recv(); err == nil {
			return
		} else if status.Code(err) != codes.ResourceExhausted || try > 1000 {
			c.t.Fatal(err)
		}
	}
}

func FuzzCarried(f *testing.F) {
	c, err := New(Config{Backend: bug{}, TrustDomain: "hexr.cloud", PeerFromContext: func(context.Context) (Peer, bool) { return Peer{}, false }})
	if err != nil {
		f.Fatal(err)
	}
	peer := Peer{ID: "spiffe://hexr.cloud/agent/acme/bot/main", Kind: "x509", NotAfter: time.Now().Add(time.Hour)}
	for name, m := range c.methods {
		if m.handle != nil {
			f.Add(name, []byte("\x0a\x01k"), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		}
	}
	f.Fuzz(func(t *testing.T, name string, request []byte, parent string) {
		m := c.methods[name]
		if m == nil || m.handle == nil {
			return
		}
		se := &session{s: c, peer: peer}
		a := se.answer(carried{t.Context(), nil, m, &hexrv1.Call{Id: 1, Method: name, Request: request, Traceparent: parent}})
		if a.GetId() != 1 || a.GetResult() == nil {
			t.Fatal("no answer: ", a)
		}
	})
}
