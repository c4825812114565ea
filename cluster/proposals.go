package cluster

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/hexrdev/hexrd/cluster/clusterpb"
	"github.com/hexrdev/hexrd/internal/frames"
	"github.com/hexrdev/hexrd/internal/quiet"
)

const (
	// proposalsMost of a connection are answered at a time: more than a member has
	// under way. The others wait in the connection.
	proposalsMost = 16
	// proposalTimeout bounds what a member says it waits.
	proposalTimeout = 10 * time.Second
)

// proposals answers members' proposals.
type proposals struct {
	service *service
	log     *slog.Logger

	mu      sync.Mutex
	ended   bool // nothing is proposed any more
	running sync.WaitGroup
}

// ServeProposals answers the proposals of a listener's connections (Listener.Proposals)
// with the backend until the listener is closed and what is under way is answered; the
// end of ctx ends them at once.
func ServeProposals(ctx context.Context, l net.Listener, b Backend, log *slog.Logger) error {
	s := &proposals{service: &service{backend: b}, log: log}
	var open sync.WaitGroup
	defer open.Wait()
	drained, drain := context.WithCancel(ctx)
	defer drain()
	defer s.end() // before the connections are closed, and before their end is waited for
	return frames.Accept(l, &open, func(conn net.Conn) {
		if c, ok := conn.(*Conn); ok {
			s.serve(ctx, drained, c)
			return
		}
		_ = conn.Close()
	})
}

// end waits for what is under way; what comes then is refused.
func (s *proposals) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.running.Wait()
}

func (s *proposals) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.running.Add(1)
	return true
}

// serve answers a connection's proposals. Its goroutines read in turns, and who has
// read a proposal answers it: it waits for nobody to be woken.
func (s *proposals) serve(ctx, drained context.Context, c *Conn) {
	calls := frames.New(c, maxMessage, takingTimeout)
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	defer context.AfterFunc(drained, func() {
		calls.Flush()
		_ = c.Close()
	})()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var reading sync.Mutex
	var workers sync.WaitGroup
	for range proposalsMost {
		workers.Go(func() {
			defer cancel() // nobody waits for the others' answers
			defer func() { _ = c.Close() }()
			for {
				req := &clusterpb.ProposeRequest{}
				reading.Lock()
				err := calls.Read(req)
				reading.Unlock()
				if err != nil || s.answer(ctx, c.peer, calls, req) != nil {
					return
				}
			}
		})
	}
	workers.Wait()
}

func (s *proposals) answer(ctx context.Context, from Peer, calls *frames.Conn, req *clusterpb.ProposeRequest) error {
	var reply []byte
	err := unavailable("the node stops")
	if s.begin() {
		defer s.running.Done()
		reply, err = s.propose(ctx, from, req)
	}
	return calls.Write(&clusterpb.ProposeResponse{Id: req.GetId(), Reply: reply, Refusal: toRefusal(err)})
}

func (s *proposals) propose(ctx context.Context, from Peer, req *clusterpb.ProposeRequest) (reply []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("a proposal's handler panicked: this is a bug, please report it", quiet.Panic(v))
			reply, err = nil, ErrUnknownOutcome
		}
	}()
	if err := s.service.belongs(from, req.GetClusterId()); err != nil {
		return nil, err
	}
	timeout := time.Duration(req.GetTimeout())
	if timeout <= 0 || timeout > proposalTimeout {
		timeout = proposalTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return s.service.backend.Propose(ctx, from.Node, req.GetProposal())
}
