package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hexrdev/hexrd/internal/quiet"
)

const (
	retryFirst = 200 * time.Millisecond
	retryMost  = 2 * time.Second
)

// workloadSource follows the Workload API's two streams, for X.509 and for JWT
// bundles. Two goroutines, ended and awaited by Close.
type workloadSource struct {
	*current
	cfg    Config
	client *workloadapi.Client

	gotX509, gotJWT chan struct{} // closed at the first answer
	onceX509        sync.Once
	onceJWT         sync.Once

	mu      sync.Mutex
	failing bool  // the X.509 stream has failed since its last update
	lastErr error // why the first SVID is not there yet

	cancel    context.CancelFunc
	wg        sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

func openWorkload(ctx context.Context, cfg Config) (*workloadSource, error) {
	// gRPC's own delay between dials grows to two minutes: too long to wait for
	// an agent that is back.
	connect := grpc.ConnectParams{MinConnectTimeout: retryMost, Backoff: backoff.Config{
		BaseDelay: retryFirst, Multiplier: 1.6, Jitter: 0.2, MaxDelay: retryMost}}
	client, err := workloadapi.New(ctx,
		workloadapi.WithAddr(cfg.socket()),
		workloadapi.WithLogger(quiet.Noise(cfg.Logger, "go-spiffe reports a problem")),
		workloadapi.WithBackoffStrategy(retries{}),
		workloadapi.WithDialOptions(grpc.WithConnectParams(connect)))
	if err != nil {
		return nil, fmt.Errorf("open workload API client: %w", err)
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &workloadSource{
		current: newCurrent(), cfg: cfg, client: client, cancel: cancel,
		gotX509: make(chan struct{}), gotJWT: make(chan struct{}),
		lastErr: ErrUnreachable,
	}
	s.wg.Go(func() {
		s.follow(run, func() error { return client.WatchX509Context(run, x509Watcher{s}) })
	})
	s.wg.Go(func() {
		s.follow(run, func() error { return client.WatchJWTBundles(run, jwtWatcher{s}) })
	})
	if err := s.awaitFirst(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// follow keeps a watch going: go-spiffe gives up for good when the agent ends
// a stream with Canceled or InvalidArgument.
func (s *workloadSource) follow(ctx context.Context, watch func() error) {
	for ctx.Err() == nil {
		_ = watch() // its watcher has seen the error
		wait := time.NewTimer(retryMost)
		select {
		case <-ctx.Done():
		case <-wait.C:
		}
		wait.Stop()
	}
}

// awaitFirst waits for an SVID and, where the Workload API has one, for the JWT
// bundle; the latter's absence is no error.
func (s *workloadSource) awaitFirst(ctx context.Context) error {
	limit := time.NewTimer(s.cfg.Timeout)
	defer limit.Stop()
	select {
	case <-s.gotX509:
	case <-ctx.Done():
		return fmt.Errorf("wait for the first SVID: %w", ctx.Err())
	case <-limit.C:
		s.mu.Lock()
		defer s.mu.Unlock()
		return fmt.Errorf("no SVID within %s from %s: %w", s.cfg.Timeout, s.cfg.socket(), s.lastErr)
	}
	select {
	case <-s.gotJWT:
	case <-ctx.Done():
	case <-limit.C:
	}
	return nil
}

// Close implements Source.
func (s *workloadSource) Close() error {
	s.closeOnce.Do(func() {
		s.cancel()
		s.closeErr = s.client.Close()
		s.wg.Wait()
		s.shut()
	})
	return s.closeErr
}

// pick chooses the SVID: the configured one, else the one held so far, else the
// first that fits. nil if none does.
func (s *workloadSource) pick(svids []*x509svid.SVID) *x509svid.SVID {
	held, _ := s.GetX509SVID()
	var first *x509svid.SVID
	for _, svid := range svids {
		if !s.cfg.fits(svid.ID) {
			continue
		}
		if held != nil && svid.ID == held.ID {
			return svid
		}
		if first == nil {
			first = svid
		}
	}
	return first
}

type x509Watcher struct{ *workloadSource }

func (w x509Watcher) OnX509ContextUpdate(x *workloadapi.X509Context) {
	svid := w.pick(x.SVIDs)
	w.update(func(c *current) {
		c.x509 = x.Bundles // a removed authority is gone at once, with or without an SVID
		if svid != nil {
			c.svid = svid
		}
	})
	if svid == nil {
		w.failed(ErrNoIdentity, codes.OK)
		return
	}
	w.mu.Lock()
	w.failing = false
	w.mu.Unlock()
	w.cfg.Logger.Debug("svid and bundles received from the workload api")
	w.onceX509.Do(func() { close(w.gotX509) })
}

func (w x509Watcher) OnX509ContextWatchError(err error) {
	code := status.Code(err)
	switch code {
	case codes.Canceled: // Close, or the agent's stop
	case codes.PermissionDenied:
		w.failed(fmt.Errorf("%w: is it registered?", ErrNoIdentity), code)
	case codes.Unavailable:
		w.failed(fmt.Errorf("%w: is the agent running, and the address right?", ErrUnreachable), code)
	default:
		w.failed(fmt.Errorf("the SPIFFE Workload API's answer is an error or unusable (%s)", code), code)
	}
}

// failed keeps why, and logs the first failure since the last good update.
func (s *workloadSource) failed(why error, code codes.Code) {
	s.mu.Lock()
	first := !s.failing
	s.failing, s.lastErr = true, why
	s.mu.Unlock()
	if first {
		s.cfg.Logger.Warn("workload api gives no svid; keeping the current one until it expires; check the spire agent",
			slog.String("code", code.String()))
	}
}

type jwtWatcher struct{ *workloadSource }

func (w jwtWatcher) OnJWTBundlesUpdate(set *jwtbundle.Set) {
	w.update(func(c *current) { c.jwt = set })
	w.onceJWT.Do(func() { close(w.gotJWT) })
}

func (w jwtWatcher) OnJWTBundlesWatchError(error) {
	w.onceJWT.Do(func() { close(w.gotJWT) })
}

// retries is the delay between attempts to watch: doubling, bounded.
type retries struct{}

func (retries) NewBackoff() workloadapi.Backoff { return &retry{} }

type retry struct{ last time.Duration }

func (r *retry) Next() time.Duration {
	r.last = min(max(2*r.last, retryFirst), retryMost)
	return r.last
}

func (r *retry) Reset() { r.last = 0 }
