package cluster

import (
	"net"
	"sync"
	"time"
)

// queue is the net.Listener of one protocol.
type queue struct {
	l      *Listener
	conns  chan *Conn
	closed chan struct{}
	once   sync.Once
}

const queueLength = 128

func newQueue(l *Listener) *queue {
	return &queue{l: l, conns: make(chan *Conn, queueLength), closed: make(chan struct{})}
}

// hand passes a connection to who accepts; it closes it when nobody does.
func (q *queue) hand(c *Conn) {
	select {
	case <-q.closed: // below it might go into the buffer all the same
		_ = c.Close()
		return
	default:
	}
	select {
	case q.conns <- c:
		return
	case <-q.l.done:
	case <-q.closed:
	case <-time.After(q.l.cfg.Limits.HandshakeTimeout):
	}
	_ = c.Close()
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.closed:
	case <-q.l.done:
	}
	return nil, net.ErrClosed
}

// Close ends Accept; the port and the connections stay the Listener's.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

func (q *queue) Addr() net.Addr { return q.l.Addr() }
