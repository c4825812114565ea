package hexrd_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/hexrdev/hexrd"
	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/identity"
)

// odd makes a certificate that the CA of the world signs, other than it would.
func (w *world) odd(change func(*x509.Certificate)) tls.Certificate {
	w.t.Helper()
	dir := filepath.Join(w.dir, "ca")
	ca, err := tls.LoadX509KeyPair(filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca-key.pem"))
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(3), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, URIs: uris("spiffe://hexr.cloud/agent/acme/bot/main"),
	}
	change(tmpl)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.Leaf, key.Public(), ca.PrivateKey)
	if err != nil {
		w.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func uris(ids ...string) (out []*url.URL) {
	for _, id := range ids {
		u, err := url.Parse(id)
		if err != nil {
			panic(err)
		}
		out = append(out, u)
	}
	return out
}

// TestBadPeers: over HTTP and gRPC, who does not prove who it is gets the
// documented answer, and nothing else.
func TestBadPeers(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	other := newWorld(t)
	set := func(ids ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.URIs = uris(ids...) }
	}
	for name, cert := range map[string]*tls.Certificate{
		"no certificate":       nil,
		"no SPIFFE ID":         ptr(w.odd(func(c *x509.Certificate) { c.URIs, c.DNSNames = nil, []string{"x"} })),
		"two SPIFFE IDs":       ptr(w.odd(set("spiffe://hexr.cloud/agent/acme/bot/main", "spiffe://hexr.cloud/hexr/operator/ann"))),
		"another trust domain": ptr(w.odd(set("spiffe://evil.cloud/agent/acme/bot/main"))),
		"expired":              ptr(w.odd(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) })),
		"another CA":           ptr(other.odd(func(*x509.Certificate) {})),
		"an ID of no class":    ptr(w.odd(set("spiffe://hexr.cloud/service/web"))),
	} {
		t.Run(name, func(t *testing.T) {
			cfg := &tls.Config{RootCAs: w.ca.Pool(), MinVersion: tls.VersionTLS13}
			if cert != nil {
				cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
			}
			web := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: cfg, DialTLSContext: elsewhere(cfg), DisableKeepAlives: true}}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+w.server.Addr()+"/v1/secrets/k", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := web.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("HTTP: status %d", resp.StatusCode)
			}
			conn, err := grpc.NewClient(w.server.Addr(), grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_, err = hexrv1.NewVaultClient(conn).Get(t.Context(), &hexrv1.GetRequest{Path: "k"})
			if status.Code(err) != codes.Unauthenticated {
				t.Errorf("gRPC: %v", err)
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

// TestIdentityFromFiles runs a node and a client with PEM files in place of a
// Workload API.
func TestIdentityFromFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	files := func(path string, node bool) (cert, key, bundle string) {
		t.Helper()
		svid, err := w.ca.Mint(spiffeid.RequireFromPath(domain, path), time.Hour, node)
		if err != nil {
			t.Fatal(err)
		}
		certPEM, keyPEM, err := svid.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		cert, key, bundle = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "bundle.pem")
		raw := w.ca.X509Bundle().X509Authorities()[0].Raw
		for file, data := range map[string][]byte{
			cert: certPEM, key: keyPEM, bundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}),
		} {
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return cert, key, bundle
	}
	cfg := w.config()
	cert, key, bundle := files("/hexr/node/n1", true)
	cfg.Identity = identity.Config{CertFile: cert, KeyFile: key, BundleFile: bundle}
	s, err := hexrd.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(t.Context()) }()
	cert, key, bundle = files("/agent/acme/bot/main", false)
	c, err := client.Dial(t.Context(), client.Config{Addrs: []string{s.Addr()}, CertFile: cert, KeyFile: key, BundleFile: bundle})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Put(t.Context(), "k", []byte("v"), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}
