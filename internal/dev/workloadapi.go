package dev

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	renewRetry     = time.Second
	securityHeader = "workload.spiffe.io"
)

// Issued is what a Workload API serves: one identity and the bundles.
type Issued struct {
	SVID *x509svid.SVID
	X509 *x509bundle.Bundle
	JWT  *jwtbundle.Bundle
	// Token makes a JWT-SVID of the identity; nil: it has none.
	Token func(ctx context.Context, audience []string) (string, error)
	// Stale is closed when a newer bundle is to be had; nil: that is not told.
	Stale <-chan struct{}
}

// WorkloadServer is a SPIFFE Workload API that serves one identity on a unix
// socket of mode 0600. It renews the SVID at half of its life.
type WorkloadServer struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	socket string
	issue  func(context.Context) (Issued, error)
	log    *slog.Logger
	grpc   *grpc.Server

	mu      sync.Mutex
	current Issued
	changed chan struct{}

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// ServeWorkload serves what issue gives. ctx bounds the first issue alone.
func ServeWorkload(ctx context.Context, socket string, issue func(context.Context) (Issued, error), log *slog.Logger) (*WorkloadServer, error) {
	if len(socket) > maxSocketName {
		return nil, fmt.Errorf("the socket's name %s is longer than %d bytes", socket, maxSocketName)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	first, err := issue(ctx)
	if err != nil {
		return nil, fmt.Errorf("issue an SVID: %w", err)
	}
	l, err := listenPrivate(ctx, socket)
	if err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(context.Background())
	s := &WorkloadServer{
		socket: socket, issue: issue, log: log, grpc: grpc.NewServer(), current: first, changed: make(chan struct{}), cancel: cancel,
	}
	workload.RegisterSpiffeWorkloadAPIServer(s.grpc, s)
	s.wg.Add(2)
	go func() {
		defer s.wg.Done()
		_ = s.grpc.Serve(l)
	}()
	go func() {
		defer s.wg.Done()
		s.renew(run)
	}()
	return s, nil
}

// listenPrivate replaces what a killed process left there.
func listenPrivate(ctx context.Context, socket string) (net.Listener, error) {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("listen on %s: %w", socket, err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", socket, err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Address is what SPIFFE_ENDPOINT_SOCKET is set to.
func (s *WorkloadServer) Address() string { return "unix://" + s.socket }

// Close ends the server and waits.
func (s *WorkloadServer) Close() error {
	s.cancel()
	s.grpc.Stop()
	s.wg.Wait()
	return nil
}

func (s *WorkloadServer) renew(ctx context.Context) {
	for {
		issued, _ := s.next()
		leaf := issued.SVID.Certificates[0]
		wait := time.Until(leaf.NotBefore.Add(backdate).Add(leaf.NotAfter.Sub(leaf.NotBefore.Add(backdate)) / 2))
		timer := time.NewTimer(max(wait, 100*time.Millisecond))
		select {
		case <-timer.C:
		case <-issued.Stale:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return
		}
		next, err := s.issue(ctx)
		if err != nil {
			s.log.Warn("an SVID was not renewed; it is tried again")
			select {
			case <-time.After(renewRetry):
			case <-ctx.Done():
				return
			}
			continue
		}
		s.mu.Lock()
		s.current = next
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
	}
}

func (s *WorkloadServer) next() (Issued, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current, s.changed
}

// fromWorkload refuses calls without the header that a server-side request
// forgery can't set.
func fromWorkload(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	if v := md.Get(securityHeader); len(v) != 1 || v[0] != "true" {
		return status.Error(codes.InvalidArgument, "the header "+securityHeader+": true is required")
	}
	return nil
}

// stream sends what make gives, now and after each renewal.
func stream[R any](s *WorkloadServer, out grpc.ServerStreamingServer[R], make func(Issued) (*R, error)) error {
	if err := fromWorkload(out.Context()); err != nil {
		return err
	}
	for {
		issued, changed := s.next()
		resp, err := make(issued)
		if err != nil {
			return status.Error(codes.Internal, "the SVID does not marshal")
		}
		if err := out.Send(resp); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-out.Context().Done():
			return out.Context().Err()
		}
	}
}

// FetchX509SVID streams the SVID with its key.
func (s *WorkloadServer) FetchX509SVID(_ *workload.X509SVIDRequest, out grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	return stream(s, out, func(i Issued) (*workload.X509SVIDResponse, error) {
		certs, key, err := i.SVID.MarshalRaw()
		if err != nil {
			return nil, err
		}
		return &workload.X509SVIDResponse{Svids: []*workload.X509SVID{{
			SpiffeId: i.SVID.ID.String(), X509Svid: certs, X509SvidKey: key, Bundle: rawBundle(i.X509),
		}}}, nil
	})
}

// FetchX509Bundles streams the X.509 bundle.
func (s *WorkloadServer) FetchX509Bundles(_ *workload.X509BundlesRequest, out grpc.ServerStreamingServer[workload.X509BundlesResponse]) error {
	return stream(s, out, func(i Issued) (*workload.X509BundlesResponse, error) {
		return &workload.X509BundlesResponse{Bundles: map[string][]byte{i.X509.TrustDomain().IDString(): rawBundle(i.X509)}}, nil
	})
}

func rawBundle(b *x509bundle.Bundle) []byte {
	var raw []byte
	for _, cert := range b.X509Authorities() {
		raw = append(raw, cert.Raw...)
	}
	return raw
}
