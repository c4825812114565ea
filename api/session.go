package api

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

// Bounds of what a message of a session holds: its caller's limits come after it was
// read. One that has more ends the session.
const (
	carriedMax   = 32 << 10 // bytes of a request
	cancelledMax = 1 << 10  // ids
)

// session is a stream that carries calls. What is carried passes the limits here,
// and then invoke, as what comes alone does at the tap and the interceptor.
type session struct {
	s      *Server
	peer   Peer
	conn   *connection
	stream grpc.BidiStreamingServer[hexrv1.Call, hexrv1.Answer]

	sending sync.Mutex // of the stream's Send
	over    bool       // nothing is sent any more

	mu      sync.Mutex
	ended   bool                          // nothing is begun any more
	calls   map[uint64]context.CancelFunc // under way
	running sync.WaitGroup
}

// carried is a call that the limits admitted.
type carried struct {
	ctx    context.Context
	pass   *pass
	method *method
	in     *hexrv1.Call
}

// carry runs a session until its client ends it or the node stops: what is under way
// then is answered first. Where what comes makes no sense, or nothing comes any
// more, it is cancelled.
func (s *Server) carry(stream grpc.BidiStreamingServer[hexrv1.Call, hexrv1.Answer]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	c, conn := callOf(ctx), connectionOf(ctx)
	if err := c.pass.attach(conn); err != nil {
		return err
	}
	defer c.pass.detach(conn)
	se := &session{s: s, peer: c.peer, conn: conn, stream: stream, calls: map[uint64]context.CancelFunc{}}
	read := make(chan error, 1)
	go func() { read <- se.read(ctx) }() // until the stream ends, when this has returned
	var err error
	select {
	case err = <-read:
		if err != nil {
			cancel()
		}
	case <-s.ending:
		err = ErrStopped
	}
	se.end()
	return err
}

// read takes calls until the stream or the session ends.
func (se *session) read(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			se.s.panicked(hexrv1.Session_Carry_FullMethodName, v)
			err = errPanic
		}
	}()
	for {
		in, err := se.stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return invalid("what came on the session is no call, or larger than any may be")
		case len(in.GetRequest()) > carriedMax || len(in.GetCancelled()) > cancelledMax:
			return errCarried
		}
		se.cancel(in.GetCancelled())
		if err := se.begin(ctx, in); err != nil {
			return err
		}
	}
}

// begin starts a call, or refuses it. An error ends the session.
func (se *session) begin(ctx context.Context, in *hexrv1.Call) error {
	c, pause, err := se.admit(ctx, in)
	switch {
	case err == nil && c.ctx != nil:
		go se.run(c)
		return nil
	case err == nil || errors.Is(err, errReused):
		return err
	}
	se.s.metrics.answered(se.s.known(in.GetMethod()), err, 0)
	if pause > 0 {
		wait(ctx, pause)
	}
	if in.GetMethod() != "" {
		se.send(refusal(in, err, nil))
	}
	return nil
}

// admit applies the limits to a call. One without a request counts too, since a flood
// of those must not be free, but is nothing to run: it has no context.
func (se *session) admit(ctx context.Context, in *hexrv1.Call) (c carried, pause time.Duration, err error) {
	c = carried{method: se.s.methods[in.GetMethod()], in: in}
	if c.pass, pause, err = se.s.limited(se.peer); err != nil {
		return c, pause, err
	}
	switch {
	case in.GetMethod() == "":
	case c.method == nil || c.method.handle == nil:
		err = errMethod
	default:
		c.ctx, err = se.add(ctx, in.GetId())
	}
	if c.ctx == nil {
		c.pass.release()
	}
	return c, 0, err
}

// add makes a call one that is under way.
func (se *session) add(ctx context.Context, id uint64) (context.Context, error) {
	se.mu.Lock()
	defer se.mu.Unlock()
	if se.ended {
		return nil, ErrStopped
	}
	if se.calls[id] != nil {
		return nil, errReused
	}
	ctx, se.calls[id] = context.WithCancel(ctx)
	se.running.Add(1)
	return ctx, nil
}

// cancel ends calls that nobody waits for; they are answered so.
func (se *session) cancel(ids []uint64) {
	if len(ids) == 0 {
		return
	}
	se.mu.Lock()
	defer se.mu.Unlock()
	for _, id := range ids {
		if cancel := se.calls[id]; cancel != nil {
			cancel()
		}
	}
}

// forget makes the id of a call free.
func (se *session) forget(id uint64) {
	se.mu.Lock()
	defer se.mu.Unlock()
	se.calls[id]()
	delete(se.calls, id)
}

// run answers a call.
func (se *session) run(c carried) {
	defer se.running.Done()
	defer c.pass.release()
	answer := se.answer(c)
	se.forget(c.in.GetId())
	c.pass.answered(se.conn, proto.Size(answer))
	se.send(answer)
}

func (se *session) answer(c carried) (answer *hexrv1.Answer) {
	m := c.method
	defer func() {
		if v := recover(); v != nil {
			se.s.panicked(m.name, v)
			answer = refusal(c.in, errPanic, nil)
		}
	}()
	req := m.handle.request()
	if err := proto.Unmarshal(c.in.GetRequest(), req); err != nil {
		return refusal(c.in, invalid("request: it is no message of the method's"), nil)
	}
	md := metadata{requestID: requestIDIn(req), traceParent: c.in.GetTraceparent(), pass: c.pass}
	resp, admitted, err := se.s.invokeMethod(c.ctx, se.peer, m, md, req)
	if err != nil {
		return refusal(c.in, err, admitted)
	}
	data, err := proto.Marshal(resp)
	if err != nil {
		return refusal(c.in, errPanic, admitted)
	}
	return &hexrv1.Answer{Id: c.in.GetId(), Result: &hexrv1.Answer_Response{Response: data}}
}

func refusal(in *hexrv1.Call, err error, c *call) *hexrv1.Answer {
	return &hexrv1.Answer{Id: in.GetId(), Result: &hexrv1.Answer_Error{Error: failureOf(err).data(requestIDText(c))}}
}

// send waits while the client reads nothing. An error ends the stream, so that read
// reports it.
func (se *session) send(a *hexrv1.Answer) {
	se.sending.Lock()
	defer se.sending.Unlock()
	if !se.over {
		_ = se.stream.Send(a)
	}
}

// end waits for what is under way.
func (se *session) end() {
	se.mu.Lock()
	se.ended = true
	se.mu.Unlock()
	se.running.Wait()
	se.sending.Lock()
	defer se.sending.Unlock()
	se.over = true
}

// attach makes the call its connection's session: it is neither in flight nor one of
// the caller's streams.
func (p *pass) attach(c *connection) error {
	if p == nil || c == nil {
		return errSession
	}
	p.release()
	p.written = nil // an answer counts from when it waits to be sent
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	if c.session {
		return errSession
	}
	c.session = true
	return nil
}

// detach lets the connection have another.
func (p *pass) detach(c *connection) {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	c.session = false
}
