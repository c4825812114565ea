package cluster

import (
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

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
