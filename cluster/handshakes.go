package cluster

import (
	"net"
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
	conn   net.Conn
	source string
}

func source(c net.Conn) string {
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return c.RemoteAddr().String()
	}
	return host
}

// begin adds a connection; it may close an older one.
func (h *handshakes) begin(c net.Conn) {
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
		h.evict(first)
	case len(h.queue) >= h.limits.Handshakes:
		h.evict(0)
	}
	h.queue = append(h.queue, pending{c, src})
}

func (h *handshakes) evict(i int) {
	_ = h.queue[i].conn.Close()
	h.queue = append(h.queue[:i], h.queue[i+1:]...)
}

// end removes a connection, whatever became of it.
func (h *handshakes) end(c net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, p := range h.queue {
		if p.conn == c {
			h.queue = append(h.queue[:i], h.queue[i+1:]...)
			return
		}
	}
}
