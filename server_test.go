package hexrd_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/hexrdev/hexrd"
	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/identity"
	"github.com/hexrdev/hexrd/internal/dev"
)

// world is a CA and a node of it, with real sockets, disks and SVIDs.
type world struct {
	t      testing.TB
	ca     *dev.CA
	dir    string
	server *hexrd.Server
}

var domain = spiffeid.RequireTrustDomainFromString("hexr.cloud")

func newWorld(t testing.TB) *world {
	t.Helper()
	dir := t.TempDir()
	ca, err := dev.OpenCA(filepath.Join(dir, "ca"), domain)
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, ca: ca, dir: dir}
}

func (w *world) socket(path string, ttl time.Duration, node bool) string {
	w.t.Helper()
	dir, err := os.MkdirTemp("", "hx")
	if err != nil {
		w.t.Fatal(err)
	}
	id := spiffeid.RequireFromPath(domain, path)
	s, err := dev.ServeWorkload(w.t.Context(), filepath.Join(dir, "s"), func(context.Context) (dev.Issued, error) {
		return w.ca.Issue(id, ttl, node)
	}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = s.Close(); _ = os.RemoveAll(dir) })
	return s.Address()
}

func (w *world) config() hexrd.Config {
	return hexrd.Config{
		DataDir: filepath.Join(w.dir, "data"), WrapperKey: filepath.Join(w.dir, "wrapper.key"), Bind: "127.0.0.1:0",
		Advertise: "127.0.0.1:1", Bootstrap: true,
		Identity: identity.Config{Socket: w.socket("/hexr/node/n1", time.Hour, true)},
	}
}

func (w *world) start() *world {
	w.t.Helper()
	s, err := hexrd.Open(w.t.Context(), w.config())
	if err != nil {
		w.t.Fatal(err)
	}
	w.server = s
	w.t.Cleanup(func() {
		if err := s.Close(context.WithoutCancel(w.t.Context())); err != nil {
			w.t.Error(err)
		}
	})
	return w
}

func (w *world) client(path string) *client.Client {
	w.t.Helper()
	c, err := client.Dial(w.t.Context(), client.Config{
		Addrs: []string{w.server.Addr()}, Socket: w.socket(path, time.Hour, false), Retries: 3,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

// web is an HTTP client with an SVID; nil: without one.
func (w *world) web(svid *x509svid.SVID) *http.Client {
	cfg := &tls.Config{RootCAs: w.ca.Pool(), MinVersion: tls.VersionTLS13}
	if svid != nil {
		cfg.Certificates = []tls.Certificate{certificate(svid)}
	}
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: cfg, DialTLSContext: elsewhere(cfg), DisableKeepAlives: true}}
}

func certificate(svid *x509svid.SVID) tls.Certificate {
	cert := tls.Certificate{PrivateKey: svid.PrivateKey}
	for _, c := range svid.Certificates {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return cert
}

func (w *world) mint(path string) *x509svid.SVID {
	w.t.Helper()
	svid, err := w.ca.Mint(spiffeid.RequireFromPath(domain, path), time.Hour, false)
	if err != nil {
		w.t.Fatal(err)
	}
	return svid
}

func TestPutGetDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	c := w.client("/agent/acme/bot/main")
	ctx := t.Context()
	if _, err := c.Put(ctx, "k", []byte("v1"), client.PutOptions{Metadata: map[string]string{"owner": "ann"}}); err != nil {
		t.Fatal(err)
	}
	s, err := c.Get(ctx, "k")
	if err != nil || s.Text() != "v1" || s.Metadata["owner"] != "ann" {
		t.Fatalf("get: %v", err)
	}
	if ok, err := c.Exists(ctx, "k"); !ok || err != nil {
		t.Fatal("it does not exist", err)
	}
	if _, err := c.Delete(ctx, "k", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(ctx, "k"); !errors.Is(err, client.ErrNotFound) {
		t.Fatalf("get of a deleted secret: %v", err)
	}
	if ok, err := c.Exists(ctx, "k"); ok || err != nil {
		t.Fatal("a deleted secret exists", err)
	}
	if _, err := c.Undelete(ctx, "k", ""); err != nil {
		t.Fatal(err)
	}
	n := 0
	for info, err := range c.List(ctx, client.ListOptions{PageSize: 1}) {
		if err != nil || info.GetPath() != "k" || info.GetScope() != "spiffe://"+domain.Name()+"/agent/acme/bot/*" {
			t.Fatal(info, err)
		}
		n++
	}
	if n != 1 {
		t.Fatalf("%d secrets are listed", n)
	}
}

func TestInjection(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	c := w.client("/agent/acme/bot/main")
	type inner struct {
		B []byte `hexr:"b"`
	}
	type target struct {
		A       client.Value `hexr:"a"`
		Inner   inner
		Missing string `hexr:"missing,optional"`
	}
	ran := false
	err := client.With(t.Context(), c, func(context.Context, target) error { ran = true; return nil })
	if !errors.Is(err, client.ErrNotFound) || ran {
		t.Fatalf("with missing secrets: %v, ran: %t", err, ran)
	}
	for _, p := range []string{"a", "b"} {
		if _, err := c.Put(t.Context(), p, []byte("value "+p), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	err = client.With(t.Context(), c, func(_ context.Context, got target) error {
		if got.A.Text() != "value a" || string(got.Inner.B) != "value b" || got.Missing != "" {
			t.Error("a field is not filled")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestTail: rows come as they are appended, an agent sees its own alone, and a
// block ends the stream.
func TestTail(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	bot, operator := w.client("/agent/acme/bot/main"), w.client("/hexr/operator/ann")
	auditor := w.client("/hexr/auditor/ben")
	rows := make(chan *hexrv1.AuditRow, 64)
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	follow := func(c *client.Client) {
		from := uint64(0)
		go func() {
			ended <- c.AuditTail(ctx, &hexrv1.TailRequest{From: &from}, func(r *hexrv1.AuditRow) error {
				rows <- r
				return nil
			})
		}()
	}
	await := func(operation string) *hexrv1.AuditRow {
		t.Helper()
		for {
			select {
			case r := <-rows:
				if r.GetOperation() == operation {
					return r
				}
			case err := <-ended:
				t.Fatalf("the tail ended: %v", err)
			}
		}
	}
	follow(bot)
	await("audit.tail")
	if _, err := operator.Settings(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := bot.Put(ctx, "k", []byte("v"), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if r := await("put"); r.GetPath() != "k" || r.GetCaller() != "spiffe://hexr.cloud/agent/acme/bot/main" {
		t.Errorf("row %v", r)
	}
	if err := operator.Block(ctx, "agent/acme/bot"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, client.ErrDenied) && !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("the tail of a blocked caller: %v", err)
	}
	follow(auditor)
	if r := await("settings.get"); r.GetCaller() != "spiffe://hexr.cloud/hexr/operator/ann" {
		t.Errorf("row %v", r)
	}
	if r := await("block"); r.GetDetail() != "agent/acme/bot" {
		t.Errorf("row %v", r)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("a tail ended without its context")
	}
}

func TestRefusesToStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct {
		name   string
		change func(*hexrd.Config)
		want   error
	}{
		{"empty directory", func(c *hexrd.Config) { c.Bootstrap = false }, hexrd.ErrNoState},
		{"wrapper key inside", func(c *hexrd.Config) { c.WrapperKey = filepath.Join(c.DataDir, "key") }, nil},
		{"bootstrap and join", func(c *hexrd.Config) { c.Join = []string{"127.0.0.1:1"} }, nil},
		{"an agent's identity", func(c *hexrd.Config) { c.Identity.Socket = w.socket("/agent/acme/bot/main", time.Hour, false) }, identity.ErrNotNode},
		{"no Workload API", func(c *hexrd.Config) { c.Identity.Socket = "unix:///nowhere/s"; c.Identity.Timeout = time.Second }, nil},
		{"address without port", func(c *hexrd.Config) { c.Bind = "localhost" }, nil},
		{"address that nobody can dial", func(c *hexrd.Config) { c.Bind, c.Advertise = "0.0.0.0:1", "" }, nil},
		{"unknown log store", func(c *hexrd.Config) { c.LogStore = "tape" }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := w.config()
			c.change(&cfg)
			s, err := hexrd.Open(t.Context(), cfg)
			if err == nil {
				_ = s.Close(t.Context())
				t.Fatal("it started")
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
		})
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config()
	for round := range 3 {
		cfg.Bootstrap = true // changes nothing on existing state
		s, err := hexrd.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		w.server = s
		c := w.client("/agent/acme/bot/main")
		if _, err := c.Put(t.Context(), "k", []byte("v"), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		got, err := c.Get(t.Context(), "k")
		if err != nil || got.Version != uint64(round+1) {
			t.Fatalf("round %d: version %d, %v", round, got.Version, err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	cfg.WrapperKey = filepath.Join(w.dir, "another.key")
	if err := os.WriteFile(cfg.WrapperKey, []byte("hexrd-wrapper-key-1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := hexrd.Open(t.Context(), cfg); err == nil {
		t.Fatal("it opens with another wrapper key")
	}
}
