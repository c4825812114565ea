package api

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/internal/frames"
)

// carrying is a server, and a session on it, whose gets take as long as the test
// wants: they are for nodes, whose limits need no store.
type carrying struct {
	t      *testing.T
	s      *Server
	addr   string
	conn   net.Conn
	calls  *frames.Conn
	begun  chan context.Context
	finish chan struct{}
}

func newCarrying(t *testing.T) *carrying {
	t.Helper()
	return newCarryingFor(t, Peer{ID: "spiffe://hexr.cloud/hexr/node/n1", Kind: "x509", NotAfter: time.Now().Add(time.Hour)})
}

func newCarryingFor(t *testing.T, peer Peer) *carrying {
	t.Helper()
	c := &carrying{t: t, begun: make(chan context.Context, 10), finish: make(chan struct{})}
	c.s = newServer(t, peer)
	c.s.methods[hexrv1.Vault_Get_FullMethodName] = &method{hexrv1.Vault_Get_FullMethodName, nodes, audit.OpGet, unary(c.get)}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.addr = l.Addr().String()
	ctx, cut := context.WithCancel(context.WithoutCancel(t.Context()))
	served := make(chan error, 1)
	go func() { served <- c.s.ServeSessions(ctx, l) }()
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		cut()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	c.open()
	return c
}

// newServer is one whose callers are all peer; without an ID, nobody.
func newServer(t testing.TB, peer Peer) *Server {
	t.Helper()
	s, err := New(Config{
		Backend: bug{}, TrustDomain: "hexr.cloud",
		PeerFromContext: func(context.Context) (Peer, bool) { return peer, peer.ID != "" },
		PeerFromConn:    func(net.Conn) (Peer, bool) { return peer, peer.ID != "" },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// open begins another session, and leaves the last one.
func (c *carrying) open() {
	c.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(c.t.Context(), "tcp", c.addr)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	c.conn, c.calls = conn, frames.New(conn, maxRequest, time.Minute)
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
	if err := c.calls.Write(call); err != nil {
		c.t.Fatal(err)
	}
}

func (c *carrying) receive() *hexrv1.Answer {
	c.t.Helper()
	a := &hexrv1.Answer{}
	if err := c.calls.Read(a); err != nil {
		c.t.Fatal(err)
	}
	return a
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
	a := c.receive()
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

// ends takes the last word, or the end where there is to be none.
func (c *carrying) ends(reason string) {
	c.t.Helper()
	if reason != "" {
		c.expect(0, reason)
	}
	if a := (&hexrv1.Answer{}); !errors.Is(c.calls.Read(a), io.EOF) {
		c.t.Fatalf("the session goes on with %v, or breaks", a)
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
		if a := c.receive(); a.GetError() != nil {
			t.Fatal(a)
		}
	}
	last := c.ask(4, "left alone")
	if err := c.conn.Close(); err != nil {
		t.Fatal(err)
	}
	<-last.Done()
}

// What is under way is answered before a node that stops ends its sessions; what comes
// meanwhile is refused for certain.
func TestSessionEnds(t *testing.T) {
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
		if a := c.receive(); a.GetId() == 0 {
			if a.GetError().GetReason() != "STOPPING" {
				t.Fatal(a)
			}
			break
		}
	}
	c.ends("")
}

// Nobody without an identity is listened to.
func TestSessionWithoutIdentity(t *testing.T) {
	newCarryingFor(t, Peer{}).ends("NO_IDENTITY")
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
		{"/hexr.cluster.v1.Peer/Status", "", "UNKNOWN_METHOD"},
		{"/grpc.health.v1.Health/Check", "", "UNKNOWN_METHOD"},
		{"/hexr.v1.Vault/None", "", "UNKNOWN_METHOD"},
	} {
		id := uint64(10 + i)
		c.send(&hexrv1.Call{Id: id, Method: call.method, Request: []byte(call.request)})
		c.expect(id, call.want)
	}
	under := c.ask(1, "k")
	c.send(askFor(t, 1, "k"))
	<-under.Done()
	c.expect(1, "CANCELED")
	c.ends("INVALID_ARGUMENT")
	for _, call := range []*hexrv1.Call{
		{Method: hexrv1.Vault_Get_FullMethodName},
		{Id: 1, Method: hexrv1.Vault_Get_FullMethodName, Request: make([]byte, carriedMax+1)},
		{Cancelled: make([]uint64, carriedMax)},
	} {
		c.open()
		c.send(call)
		c.expect(0, "INVALID_ARGUMENT")
	}
	c.open()
	if _, err := c.conn.Write([]byte("\x02\xff\xff")); err != nil {
		t.Fatal(err)
	}
	c.ends("INVALID_ARGUMENT")
}

func FuzzCarried(f *testing.F) {
	c := newServer(f, Peer{})
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
