package api

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/internal/frames"
)

const (
	// carriedMax bounds a message of a session: its caller's limits come after it was
	// read.
	carriedMax = 32 << 10
	// takingTimeout is how long a client may take none of its answers.
	takingTimeout = 30 * time.Second
	// sessionWorkers goroutines, and one for each session, read calls and run them: their
	// stacks have grown already. More calls than that at a time get goroutines of their own.
	sessionWorkers = 128
)

// session is a connection that carries calls. What is carried passes the limits here,
// and then invoke, as what comes alone does at the tap and the interceptor.
type session struct {
	s     *Server
	peer  Peer
	conn  *connection
	calls *frames.Conn
	known bool
	ctx   context.Context // of its calls
	crew  *crew
	over  chan struct{} // closed: nothing is read any more
	why   error         // of that; nil: there is nothing to say about it

	mu       sync.Mutex
	ended    bool                          // nothing is begun any more
	underWay map[uint64]context.CancelFunc // by the call's id
	running  sync.WaitGroup
}

// carried is a call that the limits admitted.
type carried struct {
	ctx    context.Context
	pass   *pass
	method *method
	in     *hexrv1.Call
}

// ServeSessions answers the calls of a listener's connections until it is closed and
// the last session has ended. EndStreams ends them once what is under way is answered;
// the end of ctx at once.
func (s *Server) ServeSessions(ctx context.Context, l net.Listener) error {
	crew := newCrew()
	defer crew.end()
	var open sync.WaitGroup
	defer open.Wait()
	return frames.Accept(l, &open, func(conn net.Conn) { s.carry(ctx, conn, crew) })
}

// crew is the goroutines of all sessions: one reads each, the others are idle or run
// a call.
type crew struct {
	idle    chan *session // one of them takes over to read
	workers sync.WaitGroup
}

func newCrew() *crew {
	c := &crew{idle: make(chan *session)}
	for range sessionWorkers {
		c.workers.Go(c.work)
	}
	return c
}

// work reads the calls of sessions until one of them ends.
func (c *crew) work() {
	for se := range c.idle {
		if se.take() {
			return
		}
	}
}

// start adds one that reads a new session.
func (c *crew) start(se *session) {
	c.workers.Go(func() {
		if !se.take() {
			c.work()
		}
	})
}

// end waits for all; no session is open.
func (c *crew) end() {
	close(c.idle)
	c.workers.Wait()
}

// carry runs a session until its connection ends, which cancels what is under way, or
// the node stops.
func (s *Server) carry(ctx context.Context, conn net.Conn, crew *crew) {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	peer, known := s.cfg.PeerFromConn(conn)
	se := &session{
		s: s, peer: peer, conn: &connection{}, calls: frames.New(conn, carriedMax, takingTimeout),
		known: known, ctx: ctx, crew: crew, over: make(chan struct{}), underWay: map[uint64]context.CancelFunc{},
	}
	defer s.limits.ended(se.conn)
	crew.start(se)
	var err error
	select {
	case <-se.over:
		err = se.why
		cancel()
	case <-s.ending:
		err = ErrStopped
	}
	se.end()
	if err != nil {
		se.send(refusal(&hexrv1.Call{}, err, nil)) // the last word
	}
	se.calls.Flush()
	_ = conn.Close()
	<-se.over
}

// take reads until there is a call to run, hands the reading on, and runs it: nobody
// is woken for a call. It reports whether the session has ended.
func (se *session) take() (ended bool) {
	c, err := se.next()
	if c == nil {
		se.why = err
		close(se.over)
		return true
	}
	se.run(*c)
	return false
}

// next reads until there is a call to run that another goroutine reads on behind, or
// the connection or the session ends; no error: there is nothing to say about it.
func (se *session) next() (c *carried, err error) {
	defer func() {
		if v := recover(); v != nil {
			se.s.panicked("session", v)
			c, err = nil, errPanic
		}
	}()
	if !se.known {
		return nil, errUnauthenticated
	}
	for {
		in := &hexrv1.Call{}
		err := se.calls.Read(in)
		switch {
		case errors.Is(err, frames.ErrTooLarge):
			return nil, errCarried
		case errors.Is(err, proto.Error):
			return nil, errNoCall
		case err != nil:
			return nil, nil
		}
		se.cancel(in.GetCancelled())
		c, err := se.begin(in)
		if err != nil {
			return nil, err
		}
		if c == nil {
			continue
		}
		select {
		case se.crew.idle <- se:
			return c, nil
		default:
			go se.run(*c)
		}
	}
}

// begin returns a call that is to be run, or refuses it. An error ends the session.
func (se *session) begin(in *hexrv1.Call) (*carried, error) {
	c, pause, err := se.admit(in)
	switch {
	case err == nil && c.ctx != nil:
		return &c, nil
	case err == nil || errors.Is(err, errCallID):
		return nil, err
	}
	se.s.metrics.answered(se.s.known(in.GetMethod()), err, 0)
	if pause > 0 {
		wait(se.ctx, pause)
	}
	if in.GetMethod() != "" {
		se.send(refusal(in, err, nil))
	}
	return nil, nil
}

// admit applies the limits to a call. One without a request counts too, since a flood
// of those must not be free, but is nothing to run: it has no context.
func (se *session) admit(in *hexrv1.Call) (c carried, pause time.Duration, err error) {
	c = carried{method: se.s.methods[in.GetMethod()], in: in}
	if c.pass, pause, err = se.s.limited(se.peer); err != nil {
		return c, pause, err
	}
	switch {
	case in.GetMethod() == "":
	case c.method == nil || c.method.handle == nil:
		err = errMethod
	default:
		c.ctx, err = se.add(in.GetId())
	}
	if c.ctx == nil {
		c.pass.release()
	}
	return c, 0, err
}

// add makes a call one that is under way.
func (se *session) add(id uint64) (ctx context.Context, err error) {
	se.mu.Lock()
	defer se.mu.Unlock()
	if se.ended {
		return nil, ErrStopped
	}
	if id == 0 || se.underWay[id] != nil {
		return nil, errCallID
	}
	ctx, se.underWay[id] = context.WithCancel(se.ctx)
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
		if cancel := se.underWay[id]; cancel != nil {
			cancel()
		}
	}
}

// forget makes the id of a call free.
func (se *session) forget(id uint64) {
	se.mu.Lock()
	defer se.mu.Unlock()
	se.underWay[id]()
	delete(se.underWay, id)
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

// send waits while the client reads nothing. An error ends the connection, so that
// read reports it.
func (se *session) send(a *hexrv1.Answer) { _ = se.calls.Write(a) }

// end waits for what is under way.
func (se *session) end() {
	se.mu.Lock()
	se.ended = true
	se.mu.Unlock()
	se.running.Wait()
}
