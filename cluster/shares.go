package cluster

import (
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// shares counts the open connections of each caller, and of each address where a
// connection names no caller: nobody has all of them.
type shares struct {
	mu   sync.Mutex
	held map[string]int
}

func shareOf(c *Conn) string {
	if c.peer.ID != "" {
		return c.peer.ID
	}
	return "address " + source(c.NetConn())
}

// take reports whether the connection is within its share of max.
func (s *shares) take(c *Conn, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := shareOf(c)
	if s.held[key] >= most {
		return false
	}
	s.held[key]++
	c.share = s
	return true
}

func (s *shares) give(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := shareOf(c)
	if s.held[key]--; s.held[key] <= 0 {
		delete(s.held, key)
	}
}

const pacedSources = 4096

// paces bounds how many handshakes of one address and protocol are answered in a
// second: to begin one costs a stranger nothing, and a node a signature. Raft's
// have a bucket of their own, so that callers beside a member don't lock it out.
type paces struct {
	mu      sync.Mutex
	limits  Limits
	buckets *lru.Cache[pace, *rate.Limiter]
}

type pace struct {
	source string
	proto  protocol
}

func newPaces(limits Limits) (*paces, error) {
	buckets, err := lru.New[pace, *rate.Limiter](pacedSources)
	return &paces{limits: limits, buckets: buckets}, err
}

func (p *paces) allow(source string, proto protocol) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := pace{source, proto}
	b, ok := p.buckets.Get(key)
	if !ok {
		b = rate.NewLimiter(rate.Limit(p.limits.HandshakeRate), 2*p.limits.HandshakeRate)
		p.buckets.Add(key, b)
	}
	return b.Allow()
}
