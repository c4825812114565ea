package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hexrdev/hexrd/cluster/clusterpb"
	"github.com/hexrdev/hexrd/internal/frames"
)

const (
	// takingTimeout is how long a node may take nothing of what is written to it.
	takingTimeout = 10 * time.Second
	// silenceMost is how long a node may answer nothing before its connection is given
	// up with a proposal that waited as long.
	silenceMost = 3 * time.Second
)

var errBroke = errors.New("the connection broke")

// proposer sends proposals to a node over a connection of their own, and matches the
// answers.
type proposer struct {
	calls *frames.Conn
	broke chan struct{} // closed: nothing is answered any more

	mu       sync.Mutex
	last     uint64    // id
	answered time.Time // the last time
	lost     bool      // it leads nowhere
	waiting  map[uint64]chan *clusterpb.ProposeResponse
}

// stream is the link's proposer, a new one where none stands. An error is certain:
// nothing was sent. The caller holds the link.
func (p *Peers) stream(ctx context.Context, l *link) (*proposer, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	select {
	case l.dialing <- struct{}{}:
	case <-ctx.Done():
		return nil, unavailable("the node does not answer in time")
	}
	defer func() { <-l.dialing }()
	if l.stream != nil && l.stream.stands() {
		return l.stream, nil
	}
	conn, err := p.conns.dial(ctx, l.to.addr, l.to.id, alpnPropose)
	if err != nil {
		return nil, unavailable("the node does not answer")
	}
	l.connected(conn)
	l.stream = &proposer{
		calls: frames.New(conn, maxReply, takingTimeout), broke: make(chan struct{}), waiting: map[uint64]chan *clusterpb.ProposeResponse{},
	}
	if !p.own(l.stream.read) {
		_ = conn.Close()
		return nil, unavailable("the pool is closed")
	}
	return l.stream, nil
}

func (s *proposer) stands() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.broke:
		return false
	default:
		return !s.lost
	}
}

// read takes answers until the connection ends.
func (s *proposer) read() {
	defer close(s.broke)
	defer func() { _ = s.calls.Close() }()
	for {
		a := &clusterpb.ProposeResponse{}
		if err := s.calls.Read(a); err != nil {
			return
		}
		s.mu.Lock()
		s.answered = time.Now()
		w := s.waiting[a.GetId()]
		delete(s.waiting, a.GetId())
		s.mu.Unlock()
		if w != nil {
			w <- a
		}
	}
}

// propose sends a proposal and waits for its answer. After an error it may have been
// applied.
func (s *proposer) propose(ctx context.Context, req *clusterpb.ProposeRequest) (*clusterpb.ProposeResponse, error) {
	if until, ok := ctx.Deadline(); ok {
		req.Timeout = int64(time.Until(until))
	}
	w := make(chan *clusterpb.ProposeResponse, 1)
	s.mu.Lock()
	s.last++
	req.Id = s.last
	s.waiting[req.GetId()] = w
	s.mu.Unlock()
	sent := time.Now()
	_ = s.calls.Write(req) // an error ends read
	select {
	case a := <-w:
		return a, nil
	case <-ctx.Done():
		s.giveUp(req.GetId(), sent)
		return nil, ctx.Err()
	case <-s.broke:
	}
	select {
	case a := <-w: // it came before
		return a, nil
	default:
		return nil, errBroke
	}
}

// giveUp forgets a proposal. Where nothing was answered since it was sent long ago,
// the connection leads nowhere, and the next proposal makes a new one.
func (s *proposer) giveUp(id uint64, sent time.Time) {
	s.mu.Lock()
	delete(s.waiting, id)
	silent := time.Since(sent) >= silenceMost && s.answered.Before(sent)
	s.lost = s.lost || silent
	s.mu.Unlock()
	if silent {
		_ = s.calls.Close()
	}
}
