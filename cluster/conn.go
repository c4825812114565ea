package cluster

import (
	"crypto/tls"
	"sync"
	"time"
)

// Conn is an accepted connection whose handshake is done. The listener closes
// it when its peer's SVID ends or is no longer admitted.
type Conn struct {
	*tls.Conn
	peer  Peer
	proto protocol
	timer *time.Timer
	gone  func(*Conn)
	share *shares // counts it; or nil
	once  sync.Once
	err   error
}

// Peer is who connected; without an ID where no certificate verified.
func (c *Conn) Peer() Peer { return c.peer }

// Close closes the connection; again it does nothing.
func (c *Conn) Close() error {
	c.once.Do(func() {
		c.gone(c)
		if c.share != nil {
			c.share.give(c)
		}
		// Not tls.Conn.Close alone: it may wait for a writer that hangs.
		_ = c.NetConn().SetDeadline(time.Now().Add(closeGrace))
		c.err = c.Conn.Close()
	})
	return c.err
}

const closeGrace = time.Second
