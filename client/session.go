package client

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

// unansweredMost bounds the requests on a stream that are not answered: gRPC takes
// 64 KiB without waiting, so nobody waits for a node that reads nothing. Calls
// beyond that go on their own.
const unansweredMost = 32 << 10

// session carries calls over one stream.
type session struct {
	ready chan struct{} // closed: stream is there
	broke chan struct{} // closed: err is there

	sending sync.Mutex
	stream  grpc.BidiStreamingClient[hexrv1.Call, hexrv1.Answer]

	mu         sync.Mutex
	err        error
	last       uint64 // id
	waiting    map[uint64]*waiting
	unanswered int // bytes
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

func (s *session) run(ctx context.Context, conn *grpc.ClientConn) error {
	var err error
	if s.stream, err = hexrv1.NewSessionClient(conn).Carry(ctx); err != nil {
		return err
	}
	close(s.ready)
	for {
		a, err := s.stream.Recv()
		if errors.Is(err, io.EOF) {
			return status.Error(codes.Unavailable, "the node ended the session")
		}
		if err != nil {
			return err
		}
		s.mu.Lock()
		w := s.waiting[a.GetId()]
		if w != nil {
			s.unanswered -= w.size
			delete(s.waiting, a.GetId())
		}
		s.mu.Unlock()
		if w != nil {
			w.answer <- a
		}
	}
}

func (s *session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
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
	s.send(in)
	select {
	case a := <-w.answer:
		return a, nil
	case <-s.broke:
	case <-ctx.Done():
		s.send(&hexrv1.Call{Cancelled: []uint64{in.GetId()}})
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
	s.unanswered += w.size
	s.last++
	in.Id = s.last
	s.waiting[in.GetId()] = w
	return nil
}

// send never waits for the node: unansweredMost. An error ends the stream, and with
// it the call.
func (s *session) send(in *hexrv1.Call) {
	s.sending.Lock()
	defer s.sending.Unlock()
	_ = s.stream.Send(in)
}
