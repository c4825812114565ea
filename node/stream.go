package node

import (
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// streams hands accepted raft streams to the raft instance of the moment: raft
// is closed and opened again after some snapshots, and the old instance's
// transport must not take the new one's connections. It owns what it accepted and
// dialled: a leader whose disk hangs goes on with its heartbeats until they end.
type streams struct {
	raft.StreamLayer
	self  raft.ServerAddress
	conns chan net.Conn
	ended chan struct{} // has a value after the other side ended a stream that it had opened
	done  chan struct{}
	once  sync.Once
	wg    sync.WaitGroup

	mu      sync.Mutex
	open    map[*stream]struct{}
	stopped bool
}

// stream is a connection that its streams know of as long as it is open.
type stream struct {
	net.Conn
	of       *streams
	accepted bool
}

// Read tells of the end of a stream that the other side had opened.
func (c *stream) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && c.accepted {
		select {
		case c.of.ended <- struct{}{}:
		default:
		}
	}
	return n, err
}

func (c *stream) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// newStreams takes the address that others dial this node at.
func newStreams(s raft.StreamLayer, self string) *streams {
	out := &streams{
		StreamLayer: s, self: raft.ServerAddress(self), conns: make(chan net.Conn), ended: make(chan struct{}, 1),
		done: make(chan struct{}), open: map[*stream]struct{}{},
	}
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
		if conn, err = s.own(conn, true); err != nil {
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

// own keeps a connection for stop; net.ErrClosed after that.
func (s *streams) own(conn net.Conn, accepted bool) (net.Conn, error) {
	c := &stream{conn, s, accepted}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	s.open[c] = struct{}{}
	return c, nil
}

// stop ends sessions and all their connections; the accepting goroutine ends with
// its stream layer.
func (s *streams) stop() {
	s.once.Do(func() {
		close(s.done)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stopped = true
		for c := range s.open {
			_ = c.Conn.Close()
		}
		clear(s.open)
	})
}

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

func (s session) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	if addr == s.self {
		return s.loop(timeout)
	}
	conn, err := s.StreamLayer.Dial(addr, timeout)
	if err != nil {
		return nil, err
	}
	return s.own(conn, false)
}

// loop is a stream to this node itself: see instance.stand.
func (s session) loop(timeout time.Duration) (net.Conn, error) {
	here, there := net.Pipe()
	limit := time.NewTimer(timeout)
	defer limit.Stop()
	select {
	case s.conns <- there:
		return here, nil
	case <-s.closed:
	case <-s.done:
	case <-limit.C:
	}
	return nil, net.ErrClosed
}

func (s session) Close() error {
	s.end.Do(func() { close(s.closed) })
	return nil
}
