package cluster

import (
	"net"
	"slices"
	"sync"
)

// handshakes bounds the connections that have not finished theirs: when there
// are too many, in all or of one source, the oldest goes.
type handshakes struct {
	limits Limits
	mu     sync.Mutex
	queue  []pending // the oldest first
}

type pending struct {
	conn   *answering
	source string
}

func source(c net.Conn) string {
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return c.RemoteAddr().String()
	}
	return host
}

// begin adds a connection; it may end an older one.
func (h *handshakes) begin(c *answering) {
	h.mu.Lock()
	defer h.mu.Unlock()
	src := source(c)
	same, first := 0, -1
	for i, p := range h.queue {
		if p.source == src {
			if first < 0 {
				first = i
			}
			same++
		}
	}
	switch {
	case same >= h.limits.HandshakesSource:
		h.queue[first].conn.evict() // it would come again at once
		h.queue = slices.Delete(h.queue, first, first+1)
	case len(h.queue) >= h.limits.Handshakes:
		_ = h.queue[0].conn.Close()
		h.queue = slices.Delete(h.queue, 0, 1)
	}
	h.queue = append(h.queue, pending{c, src})
}

// end removes a connection, whatever became of it.
func (h *handshakes) end(c net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.queue = slices.DeleteFunc(h.queue, func(p pending) bool { return net.Conn(p.conn) == c })
}
