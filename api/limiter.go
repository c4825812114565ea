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
	unitBytes = 2 << 10
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
	unread            uint64 // bytes of answers
	connections       map[*connection]struct{}
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
			refusals: rate.NewLimiter(quickRefusals, quickRefusals), connections: map[*connection]struct{}{},
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
		if ok && u.inFlight+u.streams+uint64(len(u.connections)) > 0 {
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
	arrival          *time.Timer   // ends a gRPC call whose message does not come; or nil
	close            func()        // the connection of a gRPC call; or nil
	written          func() uint64 // what has left on it; nil: its answers are not counted
}

// begin admits a call; release ends it. pause is how long a refusal is to wait
// before it is answered.
func (l *limiter) begin(id string, s *fsmpb.Settings) (p *pass, pause time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p = &pass{l: l, id: id, u: l.of(id, s)}
	switch {
	case p.u.inFlight >= s.GetInFlightMax():
		err = errFlight
	case !p.u.bucket.Allow():
		err = errRate
	default:
		p.u.inFlight, p.inFlight = p.u.inFlight+1, 1
		return p, 0, nil
	}
	l.refuse(id)
	if !p.u.refusals.Allow() {
		pause = refusalPause
	}
	return nil, pause, err
}

// widen counts n accesses in all for a call that was admitted as one: it is
// refused where so many more are too many in flight, and pays for them in any
// case. One as large as that limit passes where nothing else is in flight.
func (p *pass) widen(n int, s *fsmpb.Settings) error {
	if p == nil || n < 2 {
		return nil
	}
	p.pay(n - 1)
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	total := max(p.inFlight, min(uint64(n), s.GetInFlightMax()))
	if p.u.inFlight-p.inFlight+total > s.GetInFlightMax() {
		p.l.refuse(p.id)
		return errFlight
	}
	p.u.inFlight += total - p.inFlight
	p.inFlight = total
	return nil
}

// moved pays for the bytes of values.
func (p *pass) moved(bytes int) {
	if p != nil {
		p.pay(bytes / unitBytes)
	}
}

// pay takes from the caller's rate what it may not have yet: this call goes on,
// later ones are refused at their header, where that costs least.
func (p *pass) pay(n int) {
	for at := time.Now(); n > 0; {
		part := min(n, p.u.bucket.Burst())
		p.u.bucket.ReserveN(at, part)
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
