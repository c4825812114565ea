package api

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const (
	// trackedCallers bounds the memory of the limits: who called longest ago is
	// forgotten, unless something of it is under way.
	trackedCallers = 16384
	// quickRefusals a second are answered at once; what a caller has refused beyond
	// that waits for refusalPause each, on its own connection. Meanwhile its rate
	// allows calls again: it loses nothing that it may have.
	quickRefusals = 100
	refusalPause  = 20 * time.Millisecond
	// unitBytes that are moved cost as much as an access does.
	unitBytes = 4 << 10
)

// limiter bounds what one identity costs a node: a rate, accesses in flight,
// open streams.
type limiter struct {
	mu      sync.Mutex
	callers *simplelru.LRU[string, *usage]
	refused map[string]uint64 // since the last summary
}

type usage struct {
	bucket, refusals  *rate.Limiter
	inFlight, streams uint64
}

func newLimiter() (*limiter, error) {
	callers, err := simplelru.NewLRU[string, *usage](trackedCallers, nil)
	return &limiter{callers: callers, refused: map[string]uint64{}}, err
}

func (l *limiter) of(id string, s *fsmpb.Settings) *usage {
	u, ok := l.callers.Get(id)
	if !ok {
		l.makeRoom()
		u = &usage{
			bucket:   rate.NewLimiter(rate.Limit(s.GetRatePerSecond()), int(s.GetRateBurst())),
			refusals: rate.NewLimiter(quickRefusals, quickRefusals),
		}
		l.callers.Add(id, u)
	}
	if u.bucket.Limit() != rate.Limit(s.GetRatePerSecond()) || u.bucket.Burst() != int(s.GetRateBurst()) {
		u.bucket.SetLimit(rate.Limit(s.GetRatePerSecond()))
		u.bucket.SetBurst(int(s.GetRateBurst()))
	}
	return u
}

// makeRoom keeps who has something under way: its counts must not begin again.
func (l *limiter) makeRoom() {
	for range 64 {
		if l.callers.Len() < trackedCallers {
			return
		}
		id, u, ok := l.callers.RemoveOldest()
		if ok && u.inFlight+u.streams > 0 {
			l.callers.Add(id, u)
		}
	}
}

// pass is an admitted call. Its methods are safe for concurrent use; those of a
// nil pass, a call that is not limited, do nothing.
type pass struct {
	l                *limiter
	id               string
	u                *usage
	inFlight, stream uint64
	arrival          *time.Timer // ends a gRPC call whose message does not come; or nil
}

// begin admits a call; release ends it. pause is how long a refusal is to wait
// before it is answered.
func (l *limiter) begin(id string, s *fsmpb.Settings) (p *pass, pause time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p = &pass{l: l, id: id, u: l.of(id, s)}
	if err := p.take(1, s); err != nil {
		if !p.u.refusals.Allow() {
			pause = refusalPause
		}
		return nil, pause, err
	}
	return p, 0, nil
}

// take counts n accesses, or none of them. A batch as large as a limit passes
// where nothing else is counted.
func (p *pass) take(n uint64, s *fsmpb.Settings) error {
	total := min(p.inFlight+n, s.GetInFlightMax())
	if more := total - min(total, p.inFlight); p.u.inFlight+more > s.GetInFlightMax() {
		p.l.refuse(p.id)
		return errFlight
	}
	burst := s.GetRateBurst()
	if !p.u.bucket.AllowN(time.Now(), int(min(n, burst-min(burst, p.inFlight)))) {
		p.l.refuse(p.id)
		return errRate
	}
	p.u.inFlight += total - min(total, p.inFlight)
	p.inFlight = max(total, p.inFlight)
	return nil
}

// widen counts n accesses in all for a call that was admitted as one.
func (p *pass) widen(n int, s *fsmpb.Settings) error {
	if p == nil || n < 2 {
		return nil
	}
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	return p.take(uint64(n-1), s)
}

// read charges the caller's rate for the bytes of values; later calls wait for it,
// this one goes on.
func (p *pass) read(bytes int) {
	if p == nil {
		return
	}
	now := time.Now()
	for n := bytes / unitBytes; n > 0; {
		part := min(n, p.u.bucket.Burst())
		p.u.bucket.ReserveN(now, part)
		n -= part
	}
}

// open makes the call a stream: it is in flight no more.
func (p *pass) open(s *fsmpb.Settings) error {
	if p == nil {
		return nil
	}
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	if p.u.streams >= s.GetStreamsMax() {
		p.l.refuse(p.id)
		return errStreams
	}
	p.u.inFlight -= p.inFlight
	p.u.streams++
	p.inFlight, p.stream = 0, 1
	return nil
}

// release gives back what is held; again it does nothing.
func (p *pass) release() {
	if p == nil {
		return
	}
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	p.u.inFlight -= p.inFlight
	p.u.streams -= p.stream
	p.inFlight, p.stream = 0, 0
}
