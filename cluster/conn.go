package cluster

import (
	"crypto/tls"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is a connection whose handshake is done. Its owner closes it when its
// peer's SVID ends or is no longer admitted.
type Conn struct {
	*tls.Conn
	peer    Peer
	proto   protocol
	dialled bool         // by this node
	verify  func() error // the peer, against the bundle of now

	pulse  *pulse      // of the process
	silent atomic.Bool // nothing may be said on it any more

	written atomic.Uint64

	number uint64 // in the order in which they were made
	timer  *time.Timer
	gone   func(*Conn)
	once   sync.Once
	err    error
}

// Peer is who is at the other end; without an ID where no certificate verified.
func (c *Conn) Peer() Peer { return c.peer }

// caller reports that it is one that clients made, not a node's.
func (c *Conn) caller() bool { return !c.dialled && c.peer.Node == "" }

// Write refuses what a paused process was about to say to a caller: this is the
// last moment before it leaves.
func (c *Conn) Write(b []byte) (int, error) {
	if c.caller() && (c.silent.Load() || c.pulse.missed()) {
		return 0, errPaused
	}
	n, err := c.Conn.Write(b)
	c.written.Add(uint64(n))
	return n, err
}

// Written is how many bytes have left.
func (c *Conn) Written() uint64 { return c.written.Load() }

// key is who it counts for.
func (c *Conn) key() string {
	if c.peer.ID != "" {
		return c.peer.ID
	}
	return hostOf(c.peer.Addr)
}

// Close closes the connection; again it does nothing.
func (c *Conn) Close() error {
	c.once.Do(func() {
		c.gone(c)
		// Not tls.Conn.Close alone: it may wait for a peer that does not read.
		force := time.AfterFunc(closeGrace, func() { _ = c.NetConn().Close() })
		defer force.Stop()
		c.err = c.Conn.Close()
	})
	return c.err
}

const closeGrace = time.Second
