package api

import (
	"context"
	"time"

	"google.golang.org/grpc/tap"

	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const (
	// arrivalTimeout is how long the message of a call may take to arrive.
	arrivalTimeout = 30 * time.Second
	// refusedMax refused calls end their connection. gRPC frees the timers of
	// refused calls only with it.
	refusedMax = 1000
)

// nodeLimits are the members' own: a proposal holds many accesses, and must not
// wait for a rate that is meant for one caller.
var nodeLimits = &fsmpb.Settings{RatePerSecond: 1_000_000, RateBurst: 1_000_000, InFlightMax: 256, StreamsMax: 16}

type passKey struct{}

// tap applies the limits at the header of a gRPC call, before anything of its
// message is read. It runs on the goroutine that reads the connection, one call
// at a time: to wait here slows the connection of a caller down that has had
// enough refusals, and nobody else's.
func (s *Server) tap(ctx context.Context, info *tap.Info) (_ context.Context, err error) {
	defer func() {
		if v := recover(); v != nil {
			s.panicked(s.known(info.FullMethodName), v)
			err = failureOf(errPanic).grpcError("")
		}
	}()
	peer, known := s.cfg.PeerFromContext(ctx)
	p, pause, refused := (*pass)(nil), refusalPause, error(errUnauthenticated)
	if known {
		p, pause, refused = s.limited(peer)
	}
	if refused != nil {
		s.metrics.answered(s.known(info.FullMethodName), refused, 0)
		if c := connectionOf(ctx); c != nil {
			if c.refused++; c.refused == refusedMax && peer.Close != nil {
				go peer.Close()
			}
		}
		if pause > 0 {
			wait(ctx, pause)
		}
		return ctx, failureOf(refused).grpcError("")
	}
	ctx, cancel := context.WithCancel(context.WithValue(ctx, passKey{}, p))
	p.arrival = time.AfterFunc(arrivalTimeout, cancel)
	context.AfterFunc(ctx, func() { // however the call ends, also before a handler has it
		cancel()
		p.arrival.Stop()
		p.release()
	})
	return ctx, nil
}

// arrived says that the call's message is complete.
func (p *pass) arrived() {
	if p != nil && p.arrival != nil {
		p.arrival.Stop()
	}
}

// limited applies the limits to a call: limiter.begin.
func (s *Server) limited(peer Peer) (*pass, time.Duration, error) {
	limits := s.limitsOf(peer)
	p, pause, err := s.limits.begin(peer.ID, limits)
	if err == nil && limits != nodeLimits {
		p.close, p.written = peer.Close, peer.Written
	}
	return p, pause, err
}

// limitsOf are the limits of a caller.
func (s *Server) limitsOf(p Peer) *fsmpb.Settings {
	if c, err := fsm.ParseCaller(p.ID, s.cfg.TrustDomain); err == nil && c.Class == fsm.ClassNode {
		return nodeLimits
	}
	return s.backend.Store().Settings()
}

// known is a method's name for the metrics: that of an unknown one is the
// caller's, and unbounded.
func (s *Server) known(method string) string {
	if s.methods[method] == nil {
		return "unknown"
	}
	return method
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
