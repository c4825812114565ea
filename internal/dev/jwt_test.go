package dev

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const vault = "hexr-vault"

var bot = spiffeid.RequireFromPath(testDomain, "/agent/acme/bot/main")

// shortDir is for sockets, whose names are bounded.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// workloads are both ways in which an identity is served: by the supervisor
// itself, and by another process that asks it.
func workloads(t *testing.T, ca *CA) map[string]*WorkloadServer {
	t.Helper()
	dir := shortDir(t)
	mint, err := ServeMint(t.Context(), filepath.Join(dir, mintSocket), ca, time.Hour, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mint.Close() })
	remote, err := issuer(dir, bot.String(), 0)
	if err != nil {
		t.Fatal(err)
	}
	servers := map[string]*WorkloadServer{}
	for name, issue := range map[string]func(context.Context) (Issued, error){
		"supervisor": func(context.Context) (Issued, error) { return ca.Issue(bot, time.Hour, false) },
		"exec":       remote,
	} {
		s, err := ServeWorkload(t.Context(), filepath.Join(dir, name), issue, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		servers[name] = s
	}
	return servers
}

func workloadClient(t *testing.T, s *WorkloadServer) *workloadapi.Client {
	t.Helper()
	c, err := workloadapi.New(t.Context(), workloadapi.WithAddr(s.Address()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestJWTOfTheWorkloadAPI: go-spiffe's client fetches, verifies and validates.
func TestJWTOfTheWorkloadAPI(t *testing.T) {
	ca := openCA(t, t.TempDir())
	for name, server := range workloads(t, ca) {
		t.Run(name, func(t *testing.T) {
			ctx, c := t.Context(), workloadClient(t, server)
			svid, err := c.FetchJWTSVID(ctx, jwtsvid.Params{Audience: vault})
			if err != nil {
				t.Fatal(err)
			}
			ahead := time.Until(svid.Expiry)
			if svid.ID != bot || len(svid.Audience) != 1 || svid.Audience[0] != vault || ahead <= 0 || ahead > maxJWTLife {
				t.Errorf("%s, %v, ends in %s", svid.ID, svid.Audience, ahead)
			}
			bundles, err := c.FetchJWTBundles(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := jwtsvid.ParseAndValidate(svid.Marshal(), bundles, []string{vault}); err != nil {
				t.Error(err)
			}
			valid, err := c.ValidateJWTSVID(ctx, svid.Marshal(), vault)
			if err != nil || valid.ID != bot || valid.Claims["sub"] != bot.String() {
				t.Errorf("%v, %v", valid, err)
			}
			if _, err := c.ValidateJWTSVID(ctx, svid.Marshal(), "db"); status.Code(err) != codes.InvalidArgument {
				t.Errorf("for another audience: %v", err)
			}
			if _, err := c.ValidateJWTSVID(ctx, svid.Marshal()+"A", vault); status.Code(err) != codes.InvalidArgument {
				t.Errorf("another signature: %v", err)
			}
			two, err := c.FetchJWTSVIDs(ctx, jwtsvid.Params{Audience: vault, ExtraAudiences: []string{"db"}, Subject: bot})
			if err != nil || len(two) != 1 || len(two[0].Audience) != 2 {
				t.Errorf("two audiences: %v, %v", two, err)
			}
			other := spiffeid.RequireFromPath(testDomain, "/agent/acme/other/main")
			if _, err := c.FetchJWTSVID(ctx, jwtsvid.Params{Audience: vault, Subject: other}); status.Code(err) != codes.PermissionDenied {
				t.Errorf("of another identity: %v", err)
			}
		})
	}
}

// TestWorkloadAPIWantsItsHeader: without it, no method answers.
func TestWorkloadAPIWantsItsHeader(t *testing.T) {
	server := workloads(t, openCA(t, t.TempDir()))["supervisor"]
	conn, err := grpc.NewClient("passthrough:api", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", server.socket)
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	api := workload.NewSpiffeWorkloadAPIClient(conn)
	_, err1 := api.FetchJWTSVID(t.Context(), &workload.JWTSVIDRequest{Audience: []string{vault}})
	_, err2 := api.ValidateJWTSVID(t.Context(), &workload.ValidateJWTSVIDRequest{Audience: vault, Svid: "x"})
	x509, err3 := api.FetchX509SVID(t.Context(), &workload.X509SVIDRequest{})
	if err3 == nil {
		_, err3 = x509.Recv()
	}
	for _, err := range []error{err1, err2, err3} {
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("without the header: %v", err)
		}
	}
}

type bundleWatcher struct{ got chan *jwtbundle.Set }

func (w bundleWatcher) OnJWTBundlesUpdate(s *jwtbundle.Set) { w.got <- s }
func (w bundleWatcher) OnJWTBundlesWatchError(error)        {}
func (w bundleWatcher) next(t *testing.T) *jwtbundle.Bundle {
	t.Helper()
	select {
	case set := <-w.got:
		b, _ := set.Get(testDomain)
		return b
	case <-time.After(20 * time.Second):
		t.Fatal("no bundle came")
		return nil
	}
}

// TestJWTKeysRotate: a new key is in the bundle at once, the one before stays
// for one more turn, and all of it outlives the process.
func TestJWTKeysRotate(t *testing.T) {
	dir := t.TempDir()
	ca := openCA(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := workloadClient(t, workloads(t, ca)["supervisor"])
	w := bundleWatcher{make(chan *jwtbundle.Set, 8)}
	go func() { _ = c.WatchJWTBundles(ctx, w) }()
	if b := w.next(t); len(b.JWTAuthorities()) != 1 {
		t.Fatalf("%d keys", len(b.JWTAuthorities()))
	}
	token, err := ca.MintJWT(bot, []string{vault}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for turn, counts := range []bool{true, false} {
		if err := ca.RotateJWTKey(); err != nil {
			t.Fatal(err)
		}
		seen, again := w.next(t), openCA(t, dir)
		kept, err := again.JWTBundle()
		if err != nil || !kept.Equal(seen) || len(seen.JWTAuthorities()) != 2 {
			t.Fatalf("turn %d: %v, %d keys", turn, err, len(seen.JWTAuthorities()))
		}
		if _, err := jwtsvid.ParseAndValidate(token, kept, []string{vault}); (err == nil) != counts {
			t.Errorf("turn %d: the first key's token: %v", turn, err)
		}
		fresh, err := again.MintJWT(bot, []string{vault}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jwtsvid.ParseAndValidate(fresh, seen, []string{vault}); err != nil {
			t.Errorf("turn %d: the new key's token: %v", turn, err)
		}
	}
	for _, name := range []string{jwtKey, jwtPrevious} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	for _, audience := range [][]string{nil, {""}, {vault, ""}} {
		if _, err := ca.MintJWT(bot, audience, time.Hour); err == nil {
			t.Errorf("it mints for the audience %q", audience)
		}
	}
}
