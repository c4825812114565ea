package node

import (
	"net"
	"sync"

	"github.com/hashicorp/raft"
)

// streams hands accepted raft streams to the raft instance of the moment: raft
// is closed and opened again after some snapshots, and the old instance's
// transport must not take the new one's connections.
type streams struct {
	raft.StreamLayer
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	wg    sync.WaitGroup
}

func newStreams(s raft.StreamLayer) *streams {
	out := &streams{StreamLayer: s, conns: make(chan net.Conn), done: make(chan struct{})}
	out.wg.Add(1)
	go out.accept()
	return out
}

// accept ends when the stream layer's owner closes it.
func (s *streams) accept() {
	defer s.wg.Done()
	for {
		conn, err := s.StreamLayer.Accept() //nolint:staticcheck // a session embeds streams and has an Accept of its own
		if err != nil {
			return
		}
		select {
		case s.conns <- conn:
		case <-s.done:
			_ = conn.Close()
			return
		}
	}
}

// stop makes sessions end; the accepting goroutine ends with its stream layer.
func (s *streams) stop() { s.once.Do(func() { close(s.done) }) }

// session is the stream layer of one raft instance.
type session struct {
	*streams
	closed chan struct{}
	end    *sync.Once
}

func (s *streams) session() session { return session{s, make(chan struct{}), &sync.Once{}} }

func (s session) Accept() (net.Conn, error) {
	select {
	case conn := <-s.conns:
		return conn, nil
	case <-s.closed:
		return nil, net.ErrClosed
	case <-s.done:
		return nil, net.ErrClosed
	}
}

func (s session) Close() error {
	s.end.Do(func() { close(s.closed) })
	return nil
}
