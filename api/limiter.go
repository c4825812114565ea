package api

import (
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// trackedCallers bounds the memory of the limits: who called longest ago is
// forgotten.
const trackedCallers = 16384

// limiter bounds what one identity costs a node: a rate, calls in flight, open
// streams.
type limiter struct {
	mu      sync.Mutex
	callers *lru.Cache[string, *usage]
}

type usage struct {
	bucket            *rate.Limiter
	inFlight, streams uint64
}

func newLimiter() (*limiter, error) {
	callers, err := lru.New[string, *usage](trackedCallers)
	return &limiter{callers: callers}, err
}

func (l *limiter) of(id string, s *fsmpb.Settings) *usage {
	u, ok := l.callers.Get(id)
	if !ok {
		u = &usage{bucket: rate.NewLimiter(rate.Limit(s.GetRatePerSecond()), int(s.GetRateBurst()))}
		l.callers.Add(id, u)
	}
	if u.bucket.Limit() != rate.Limit(s.GetRatePerSecond()) || u.bucket.Burst() != int(s.GetRateBurst()) {
		u.bucket.SetLimit(rate.Limit(s.GetRatePerSecond()))
		u.bucket.SetBurst(int(s.GetRateBurst()))
	}
	return u
}

// begin admits a call; done ends it.
func (l *limiter) begin(id string, s *fsmpb.Settings) (done func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.of(id, s)
	if u.inFlight >= s.GetInFlightMax() {
		return nil, errFlight
	}
	if !u.bucket.Allow() {
		return nil, errRate
	}
	u.inFlight++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		u.inFlight--
	}, nil
}

// stream admits a stream; done ends it.
func (l *limiter) stream(id string, s *fsmpb.Settings) (done func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.of(id, s)
	if u.streams >= s.GetStreamsMax() {
		return nil, errStreams
	}
	if !u.bucket.Allow() {
		return nil, errRate
	}
	u.streams++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		u.streams--
	}, nil
}
