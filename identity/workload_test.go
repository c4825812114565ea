package identity

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const keepsCurrent = "workload api gives no svid"

// offer is what a Workload API answers: SVIDs and bundles, or an error.
type offer struct {
	ca     *testCA
	svids  []*x509svid.SVID
	err    error
	jwks   []byte // nil: no JWT bundle
	broken bool   // an answer that does not parse
}

// agentAPI is a Workload API that answers what the test says.
type agentAPI struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	t      *testing.T
	socket string
	server *grpc.Server
	ended  chan struct{}

	mu      sync.Mutex
	now     offer
	changed chan struct{}
}

func serveAgent(t *testing.T, first offer) *agentAPI {
	t.Helper()
	dir, err := os.MkdirTemp("", "hx") // short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	a := &agentAPI{t: t, socket: filepath.Join(dir, "s"), now: first, changed: make(chan struct{})}
	a.start()
	t.Cleanup(a.stop)
	return a
}

func (a *agentAPI) start() {
	a.t.Helper()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", a.socket)
	if err != nil {
		a.t.Fatal(err)
	}
	a.server, a.ended = grpc.NewServer(), make(chan struct{})
	workload.RegisterSpiffeWorkloadAPIServer(a.server, a)
	go func(server *grpc.Server, ended chan struct{}) {
		defer close(ended)
		_ = server.Serve(l)
	}(a.server, a.ended)
}

func (a *agentAPI) stop() {
	a.server.Stop()
	<-a.ended
}

func (a *agentAPI) say(next offer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = next
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *agentAPI) current() (offer, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.now, a.changed
}

func (a *agentAPI) FetchX509SVID(_ *workload.X509SVIDRequest, out grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	for {
		now, changed := a.current()
		if now.err != nil {
			return now.err
		}
		resp := &workload.X509SVIDResponse{}
		for _, svid := range now.svids {
			certs, key, err := svid.MarshalRaw()
			if err != nil {
				return err
			}
			if now.broken {
				key = []byte("canary")
			}
			resp.Svids = append(resp.Svids, &workload.X509SVID{
				SpiffeId: svid.ID.String(), X509Svid: certs, X509SvidKey: key, Bundle: now.ca.cert.Raw,
			})
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

func (a *agentAPI) FetchJWTBundles(_ *workload.JWTBundlesRequest, out grpc.ServerStreamingServer[workload.JWTBundlesResponse]) error {
	for {
		now, changed := a.current()
		if now.jwks == nil {
			return status.Error(codes.Unimplemented, "no JWT here")
		}
		if err := out.Send(&workload.JWTBundlesResponse{Bundles: map[string][]byte{testDomain.IDString(): now.jwks}}); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-out.Context().Done():
			return out.Context().Err()
		}
	}
}

func (a *agentAPI) open(ctx context.Context, cfg Config) (Source, *logs) {
	a.t.Helper()
	log := newLogs()
	cfg.Socket, cfg.Logger = "unix://"+a.socket, log.logger()
	src, err := Open(ctx, cfg)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() {
		if err := src.Close(); err != nil {
			a.t.Error(err)
		}
		log.tellsNobody(a.t)
	})
	return src, log
}

func TestTheWorkloadAPIIsFollowed(t *testing.T) {
	t.Parallel()
	ctx := within(t, 30*time.Second)
	ca := newTestCA(t)
	first, second := ca.leaf([]string{agent}, nil), ca.leaf([]string{agent}, nil)
	api := serveAgent(t, offer{ca: ca, svids: []*x509svid.SVID{first}, jwks: jwksPEM(t, testDomain, "one")})
	src, _ := api.open(ctx, Config{TrustDomain: testDomain})
	if !holds(src, first) {
		t.Fatal("not the first SVID")
	}
	if bundle, err := src.GetJWTBundleForTrustDomain(testDomain); err != nil || !bundle.HasJWTAuthority("one") {
		t.Errorf("Open returned without the JWT bundle: %v", err)
	}
	next := newTestCA(t)
	api.say(offer{ca: next, svids: []*x509svid.SVID{second}, jwks: jwksPEM(t, testDomain, "two")})
	awaitSource(ctx, t, src, "the second SVID", func() bool { return holds(src, second) })
	bundle, err := src.GetX509BundleForTrustDomain(testDomain)
	if err != nil || len(bundle.X509Authorities()) != 1 || !bundle.HasX509Authority(next.cert) {
		t.Errorf("not the bundle that came with it: %v", err)
	}
	awaitSource(ctx, t, src, "the second JWT bundle", func() bool {
		bundle, err := src.GetJWTBundleForTrustDomain(testDomain)
		return err == nil && bundle.HasJWTAuthority("two") && !bundle.HasJWTAuthority("one")
	})
	if _, err := src.GetX509BundleForTrustDomain(spiffeid.RequireTrustDomainFromString("evil.cloud")); !errors.Is(err, ErrNoBundle) {
		t.Errorf("another domain's bundle: %v", err)
	}
}

func TestWhichSVIDIsTaken(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	foreign := ca.leaf([]string{"spiffe://evil.cloud/x"}, nil)
	one, two := ca.leaf([]string{agent + "1"}, nil), ca.leaf([]string{agent + "2"}, nil)
	all := []*x509svid.SVID{foreign, one, two}
	api := serveAgent(t, offer{ca: ca, svids: all})
	for name, c := range map[string]struct {
		cfg  Config
		want *x509svid.SVID
	}{
		"the first of all":        {Config{}, foreign},
		"the first of the domain": {Config{TrustDomain: testDomain}, one},
		"the one named":           {Config{ID: two.ID}, two},
	} {
		t.Run(name, func(t *testing.T) {
			src, _ := api.open(within(t, 20*time.Second), c.cfg)
			if !holds(src, c.want) {
				t.Error("another SVID")
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		_, err := Open(t.Context(), Config{
			Socket: "unix://" + api.socket, ID: spiffeid.RequireFromString(agent + "3"), Timeout: 200 * time.Millisecond,
		})
		if !errors.Is(err, ErrNoIdentity) {
			t.Errorf("error %v", err)
		}
		tellsNobody(t, err)
	})
	t.Run("the one held", func(t *testing.T) {
		ctx := within(t, 20*time.Second)
		api := serveAgent(t, offer{ca: ca, svids: []*x509svid.SVID{two}})
		src, log := api.open(ctx, Config{TrustDomain: testDomain})
		renewed := ca.leaf([]string{agent + "2"}, nil)
		api.say(offer{ca: ca, svids: []*x509svid.SVID{one, renewed}}) // another comes to stand before it
		awaitSource(ctx, t, src, "the renewed SVID", func() bool { return holds(src, renewed) })
		next := newTestCA(t)
		api.say(offer{ca: next, svids: []*x509svid.SVID{foreign}})
		log.await(ctx, t, 1, keepsCurrent)
		if !holds(src, renewed) {
			t.Error("the SVID went though none that fits came")
		}
		if bundle, err := src.GetX509BundleForTrustDomain(testDomain); err == nil && bundle.HasX509Authority(ca.cert) {
			t.Error("the removed authority stayed")
		}
	})
}

// TestWhyThereIsNoSVID: a clear error after Timeout, that quotes nothing.
func TestWhyThereIsNoSVID(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	svids := []*x509svid.SVID{ca.leaf([]string{agent}, nil)}
	for name, c := range map[string]struct {
		says offer
		want error
	}{
		"not registered":    {offer{err: status.Error(codes.PermissionDenied, "no identity for canary")}, ErrNoIdentity},
		"agent not ready":   {offer{err: status.Error(codes.Unavailable, "canary")}, ErrUnreachable},
		"agent is at fault": {offer{err: status.Error(codes.Internal, "canary")}, nil},
		"bad request":       {offer{err: status.Error(codes.InvalidArgument, "canary")}, nil},
		"unusable key":      {offer{ca: ca, svids: svids, broken: true}, nil},
		"no SVIDs":          {offer{ca: ca}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api, log := serveAgent(t, c.says), newLogs()
			begin := time.Now()
			src, err := Open(t.Context(), Config{Socket: "unix://" + api.socket, Timeout: 300 * time.Millisecond, Logger: log.logger()})
			if err == nil {
				_ = src.Close()
				t.Fatal("it opens")
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
			tellsNobody(t, err)
			log.tellsNobody(t)
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, Config{Socket: "unix:///nonexistent/hexrd-test"}); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that gave up: %v", err)
	}
}

// TestAnAgentThatComesBack: until then the SVID stays, and it is said once. An
// InvalidArgument is what makes go-spiffe give up.
func TestAnAgentThatComesBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ away, back func(*agentAPI, offer) }{
		"its process was restarted": {
			func(a *agentAPI, _ offer) { a.stop() },
			func(a *agentAPI, next offer) { a.say(next); a.start() },
		},
		"it denied for a while": {
			func(a *agentAPI, _ offer) { a.say(offer{err: status.Error(codes.PermissionDenied, "canary")}) },
			(*agentAPI).say,
		},
		"it ended the watch": {
			func(a *agentAPI, _ offer) { a.say(offer{err: status.Error(codes.InvalidArgument, "canary")}) },
			(*agentAPI).say,
		},
		"it answered nonsense": {
			func(a *agentAPI, last offer) { last.broken = true; a.say(last) },
			(*agentAPI).say,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, ca := within(t, 30*time.Second), newTestCA(t)
			first, second := ca.leaf([]string{agent}, nil), ca.leaf([]string{agent}, nil)
			start := offer{ca: ca, svids: []*x509svid.SVID{first}}
			api := serveAgent(t, start)
			src, log := api.open(ctx, Config{})
			c.away(api, start)
			log.await(ctx, t, 1, keepsCurrent)
			if !holds(src, first) {
				t.Fatal("the SVID is gone")
			}
			c.back(api, offer{ca: ca, svids: []*x509svid.SVID{second}})
			awaitSource(ctx, t, src, "the SVID of the agent that is back", func() bool { return holds(src, second) })
			if n, _ := log.count(keepsCurrent); n != 1 {
				t.Errorf("it was said %d times", n)
			}
		})
	}
}

func TestCloseEndsAWorkloadSource(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	api := serveAgent(t, offer{ca: ca, svids: []*x509svid.SVID{ca.leaf([]string{agent}, nil)}})
	opening, cancel := context.WithCancel(within(t, 20*time.Second))
	src, _ := api.open(opening, Config{})
	cancel() // it bounds Open alone
	if _, err := src.GetX509SVID(); err != nil {
		t.Fatal(err)
	}
	updated := src.Updated()
	for range 2 {
		if err := src.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := src.GetX509SVID(); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	select {
	case <-updated:
		t.Error("Close looks like a change")
	default:
	}
}
