package client

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/internal/frames"
)

const (
	// unansweredMost bounds the requests of a session that are not answered: that much
	// a connection takes without waiting, also to a node that reads nothing. Calls
	// beyond that go on their own.
	unansweredMost = 32 << 10
	// takingTimeout is how long a node may take to take a request.
	takingTimeout = 3 * time.Second
)

// session carries calls over a connection of its own.
type session struct {
	ready chan struct{} // closed: calls is there
	broke chan struct{} // closed: err is there
	calls *frames.Conn

	mu         sync.Mutex
	err        error
	last       uint64 // id
	waiting    map[uint64]*waiting
	unanswered int         // bytes
	since      time.Time   // the last answer, or the first request after all were answered
	look       *time.Timer // runs alive; nil: no call waits, or not for long
	asked      bool        // the node was, for a sign of life, since then
}

// waiting is a call that is not answered yet; it stays, also when nobody waits any
// more, for as long as what was sent counts.
type waiting struct {
	answer chan *hexrv1.Answer
	size   int
}

func newSession() *session {
	return &session{ready: make(chan struct{}), broke: make(chan struct{}), waiting: map[uint64]*waiting{}}
}

// run reads answers until the connection or the session ends, and says why.
func (s *session) run(ctx context.Context, conn net.Conn) error {
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	s.calls = frames.New(conn, maxMessage, takingTimeout)
	close(s.ready)
	for {
		a := &hexrv1.Answer{}
		err := s.calls.Read(a)
		switch {
		case errors.Is(err, io.EOF):
			return status.Error(codes.Unavailable, "the node ended the session")
		case err != nil:
			return status.Error(codes.Unavailable, "the connection to the node broke")
		case a.GetId() == 0:
			return fromData(a.GetError())
		}
		if w := s.take(a.GetId()); w != nil {
			w.answer <- a
		}
	}
}

// take ends the wait for an answer.
func (s *session) take(id uint64) *waiting {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since, s.asked = time.Now(), false
	w := s.waiting[id]
	if w != nil {
		s.unanswered -= w.size
		delete(s.waiting, id)
	}
	return w
}

func (s *session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	if s.look != nil {
		s.look.Stop()
	}
	close(s.broke)
}

// call sends a call, and waits for its answer.
func (s *session) call(ctx context.Context, in *hexrv1.Call) (*hexrv1.Answer, error) {
	select {
	case <-s.ready:
	case <-s.broke:
		return nil, s.err
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	w := &waiting{answer: make(chan *hexrv1.Answer, 1), size: proto.Size(in)}
	if err := s.add(in, w); err != nil {
		return nil, err
	}
	_ = s.calls.Write(in) // an error ends the session, and with it the call
	select {
	case a := <-w.answer:
		return a, nil
	case <-s.broke:
	case <-ctx.Done():
		s.giveUp(in.GetId())
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	select {
	case a := <-w.answer: // it came before
		return a, nil
	default:
		return nil, s.err
	}
}

// add gives a call its id.
func (s *session) add(in *hexrv1.Call, w *waiting) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if s.unanswered+w.size > unansweredMost {
		return errAlone
	}
	s.send(in, w)
	return nil
}

// send is for the caller to write: the call waits from now on. It holds mu.
func (s *session) send(in *hexrv1.Call, w *waiting) {
	if len(s.waiting) == 0 {
		s.since = time.Now()
	}
	s.unanswered += w.size
	s.last++
	in.Id = s.last
	s.waiting[in.GetId()] = w
	s.listen()
}

// giveUp tells the node that nobody waits for an answer.
func (s *session) giveUp(id uint64) {
	_ = s.calls.Write(&hexrv1.Call{Cancelled: []uint64{id}})
}
