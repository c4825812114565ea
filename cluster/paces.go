package cluster

import (
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

const (
	pacedSources = 4096
	// calmTime after its last refusal a source may begin many handshakes at once again.
	calmTime = 10 * time.Second
)

// paces bounds how many handshakes of one address and protocol are answered in a
// second: to begin one costs a stranger nothing, and a node a signature. Raft's
// have a bucket of their own, so that callers beside a member don't lock it out.
type paces struct {
	mu      sync.Mutex
	limits  Limits
	buckets *lru.Cache[pace, *bucket]
}

type pace struct {
	source string
	proto  protocol
}

type bucket struct {
	*rate.Limiter
	refused time.Time // the last time
}

func newPaces(limits Limits) (*paces, error) {
	buckets, err := lru.New[pace, *bucket](pacedSources)
	return &paces{limits: limits, buckets: buckets}, err
}

// allow takes one of a source that was quiet from a full bucket. Who was refused
// gets the same rate and no more at once: what it did not use while it was held
// would be a burst each time.
func (p *paces) allow(source string, proto protocol, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := pace{source, proto}
	b, ok := p.buckets.Get(key)
	if !ok || !b.refused.IsZero() && now.Sub(b.refused) >= calmTime {
		b = &bucket{Limiter: rate.NewLimiter(rate.Limit(p.limits.HandshakeRate), 2*p.limits.HandshakeRate)}
		p.buckets.Add(key, b)
	}
	if b.AllowN(now, 1) {
		return true
	}
	b.refused = now
	b.SetBurstAt(now, max(1, p.limits.HandshakeRate/20))
	return false
}
