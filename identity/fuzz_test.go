package identity

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// FuzzFiles: whatever something writes into the identity's files, what was there
// before stays, or a fitting SVID takes its place.
func FuzzFiles(f *testing.F) {
	ca := newTestCA(f)
	svid := ca.leaf([]string{agent}, nil)
	cert, key, err1 := svid.Marshal()
	bundle, err2 := ca.bundle().Marshal()
	jwks, err3 := jwtbundle.FromJWTAuthorities(testDomain, nil).Marshal()
	if err1 != nil || err2 != nil || err3 != nil {
		f.Fatal(err1, err2, err3)
	}
	f.Add(cert, key, bundle, jwks)
	f.Add(bundle, key, cert, []byte(`{"keys":[{"kty":"EC","kid":"x"}]}`))
	f.Add(append(cert, cert...), append(key, key...), []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"), []byte("{}"))
	f.Fuzz(func(t *testing.T, cert, key, bundle, jwks []byte) {
		s := &fileSource{current: newCurrent(), cfg: Config{TrustDomain: testDomain, Logger: slog.New(slog.DiscardHandler)}, td: testDomain}
		if s.applySVID([][]byte{cert, key}) == nil {
			if own, err := s.GetX509SVID(); err != nil || !own.ID.MemberOf(testDomain) {
				t.Fatal("an SVID that does not fit")
			}
		}
		if s.applyBundle([][]byte{bundle}) == nil {
			if b, err := s.GetX509BundleForTrustDomain(testDomain); err != nil || b.Empty() {
				t.Fatal("an empty bundle")
			}
		}
		if s.applyJWTBundle([][]byte{jwks}) == nil {
			if b, err := s.GetJWTBundleForTrustDomain(testDomain); err != nil || b.Empty() {
				t.Fatal("an empty JWT bundle")
			}
		}
	})
}

// anything is a Workload API that answers any messages.
type anything struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	x509 atomic.Pointer[workload.X509SVIDResponse]
	jwt  atomic.Pointer[workload.JWTBundlesResponse]
}

func (a *anything) FetchX509SVID(_ *workload.X509SVIDRequest, out grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	return out.Send(a.x509.Load())
}

func (a *anything) FetchJWTBundles(_ *workload.JWTBundlesRequest, out grpc.ServerStreamingServer[workload.JWTBundlesResponse]) error {
	return out.Send(a.jwt.Load())
}

// FuzzWorkloadAPI: no answer of a Workload API makes the source panic, or take
// an SVID that the configuration does not admit.
func FuzzWorkloadAPI(f *testing.F) {
	ca := newTestCA(f)
	certs, key, err := ca.leaf([]string{agent}, nil).MarshalRaw()
	if err != nil {
		f.Fatal(err)
	}
	marshal := func(m proto.Message) []byte {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		return data
	}
	good := &workload.X509SVID{SpiffeId: agent, X509Svid: certs, X509SvidKey: key, Bundle: ca.cert.Raw}
	f.Add(marshal(&workload.X509SVIDResponse{Svids: []*workload.X509SVID{good, {SpiffeId: "x"}}}),
		marshal(&workload.JWTBundlesResponse{Bundles: map[string][]byte{"spiffe://hexr.cloud": []byte(`{"keys":[]}`)}}))
	f.Add(marshal(&workload.X509SVIDResponse{Svids: []*workload.X509SVID{good}, FederatedBundles: map[string][]byte{"spiffe://evil": ca.cert.Raw}}), []byte{})
	api, client := serveAnything(f)
	f.Fuzz(func(t *testing.T, x509, jwt []byte) {
		var x workload.X509SVIDResponse
		var j workload.JWTBundlesResponse
		if proto.Unmarshal(x509, &x) != nil || proto.Unmarshal(jwt, &j) != nil {
			return
		}
		api.x509.Store(&x)
		api.jwt.Store(&j)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		s := &workloadSource{
			current: newCurrent(), cfg: Config{TrustDomain: testDomain, Logger: slog.New(slog.DiscardHandler)},
			gotX509: make(chan struct{}), gotJWT: make(chan struct{}),
		}
		if got, err := client.FetchX509Context(ctx); err == nil {
			x509Watcher{s}.OnX509ContextUpdate(got)
		}
		if got, err := client.FetchJWTBundles(ctx); err == nil {
			jwtWatcher{s}.OnJWTBundlesUpdate(got)
		}
		if svid, err := s.GetX509SVID(); err == nil && !svid.ID.MemberOf(testDomain) {
			t.Fatal("an SVID of another trust domain")
		}
	})
}

func serveAnything(f *testing.F) (*anything, *workloadapi.Client) {
	f.Helper()
	dir, err := os.MkdirTemp("", "hx")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := (&net.ListenConfig{}).Listen(f.Context(), "unix", filepath.Join(dir, "s"))
	if err != nil {
		f.Fatal(err)
	}
	api, server := &anything{}, grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, api)
	go func() { _ = server.Serve(l) }()
	f.Cleanup(server.Stop)
	client, err := workloadapi.New(f.Context(), workloadapi.WithAddr("unix://"+l.Addr().String()))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = client.Close() })
	return api, client
}
