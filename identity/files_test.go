package identity

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

const unusable = "renewed identity files are unusable"

// replace renames new content over a file, as what renews it should.
func replace(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

func certPEM(ca *testCA) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
}

func pairPEM(t *testing.T, svid *x509svid.SVID) (cert, key []byte) {
	t.Helper()
	cert, key, err := svid.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func jwksPEM(t *testing.T, td spiffeid.TrustDomain, kid string) []byte {
	t.Helper()
	data, err := jwtbundle.FromJWTAuthorities(td, map[string]crypto.PublicKey{kid: newTestKey(t).Public()}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// opened is a source of files with one SVID, and its log.
func opened(ctx context.Context, t *testing.T, ca *testCA, svid *x509svid.SVID, change func(*Config)) (Source, Config, *logs) {
	t.Helper()
	cfg, log := write(t, t.TempDir(), ca, svid), newLogs()
	cfg.Logger = log.logger()
	if change != nil {
		change(&cfg)
	}
	src, err := Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := src.Close(); err != nil {
			t.Error(err)
		}
		log.tellsNobody(t)
	})
	return src, cfg, log
}

func holds(src Source, svid *x509svid.SVID) bool {
	now, err := src.GetX509SVID()
	return err == nil && now.Certificates[0].Equal(svid.Certificates[0])
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// TestUnusableFilesKeepTheOldSVID: whatever the writer leaves, what is held
// stays, it is said once, and the next good pair is taken.
func TestUnusableFilesKeepTheOldSVID(t *testing.T) {
	ca := newTestCA(t)
	first := ca.leaf([]string{agent}, nil)
	other := ca.leaf([]string{agent}, nil)
	otherCert, otherKey := pairPEM(t, other)
	expired := ca.leaf([]string{agent}, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) })
	sibling := ca.leaf([]string{agent + "2"}, nil)
	foreign := ca.leaf([]string{"spiffe://evil.cloud/agent/acme/canary/main"}, nil)
	pair := func(svid *x509svid.SVID) func(*testing.T, Config) {
		return func(t *testing.T, cfg Config) {
			cert, key := pairPEM(t, svid)
			replace(t, cfg.KeyFile, key)
			replace(t, cfg.CertFile, cert)
		}
	}
	for name, spoil := range map[string]func(*testing.T, Config){
		"half a certificate": func(t *testing.T, cfg Config) { replace(t, cfg.CertFile, otherCert[:len(otherCert)/2]) },
		"half a key":         func(t *testing.T, cfg Config) { replace(t, cfg.KeyFile, otherKey[:len(otherKey)/2]) },
		"an empty file":      func(t *testing.T, cfg Config) { replace(t, cfg.CertFile, nil) },
		"another key":        func(t *testing.T, cfg Config) { replace(t, cfg.KeyFile, otherKey) },
		"another's pair":     pair(sibling),
		"another domain's":   pair(foreign),
		"an expired pair":    pair(expired),
		"a file too long":    func(t *testing.T, cfg Config) { replace(t, cfg.CertFile, make([]byte, maxFile+1)) },
		"no file": func(t *testing.T, cfg Config) {
			if err := os.Remove(cfg.KeyFile); err != nil {
				t.Fatal(err)
			}
		},
		"a pipe that nobody writes": func(t *testing.T, cfg Config) {
			if err := errors.Join(os.Remove(cfg.CertFile), syscall.Mkfifo(cfg.CertFile, 0o600)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := within(t, 20*time.Second)
			src, cfg, log := opened(ctx, t, ca, first, func(c *Config) { c.ID = spiffeid.RequireFromString(agent) })
			spoil(t, cfg)
			log.await(ctx, t, 1, unusable, "part=svid")
			if !holds(src, first) {
				t.Fatal("the old SVID is gone")
			}
			pair(other)(t, cfg)
			awaitSource(ctx, t, src, "the good pair", func() bool { return holds(src, other) })
			if n, _ := log.count(unusable); n != 1 {
				t.Errorf("it was said %d times", n)
			}
		})
	}
}

// TestBundlesAreRenewedApart: a broken SVID does not hold up a new bundle, nor
// the other way round.
func TestBundlesAreRenewedApart(t *testing.T) {
	ca, next := newTestCA(t), newTestCA(t)
	ctx := within(t, 20*time.Second)
	svid := ca.leaf([]string{agent}, nil)
	src, cfg, log := opened(ctx, t, ca, svid, nil)
	replace(t, cfg.CertFile, []byte("nothing"))
	log.await(ctx, t, 1, unusable, "part=svid")
	both := append(certPEM(ca), certPEM(next)...)
	replace(t, cfg.BundleFile, both)
	authorities := func() int {
		bundle, err := src.GetX509BundleForTrustDomain(testDomain)
		if err != nil {
			t.Fatal(err)
		}
		return len(bundle.X509Authorities())
	}
	awaitSource(ctx, t, src, "the second authority", func() bool { return authorities() == 2 })
	for n, bad := range [][]byte{nil, []byte("x"), both[:len(certPEM(ca))/2]} {
		replace(t, cfg.BundleFile, bad)
		log.await(ctx, t, n+1, unusable, "part=bundle")
		if authorities() != 2 {
			t.Fatal("the old bundle is gone")
		}
		// The log says the next failure only once a good file was read.
		replaceUntilRead(ctx, t, src, cfg.BundleFile, both, certPEM(next))
	}
	if _, err := src.GetX509BundleForTrustDomain(spiffeid.RequireTrustDomainFromString("evil.cloud")); !errors.Is(err, ErrNoBundle) {
		t.Errorf("a bundle of another trust domain: %v", err)
	}
}

// replaceUntilRead writes one content and then the other, each until the source
// has it, so that the file is known to have been read.
func replaceUntilRead(ctx context.Context, t *testing.T, src Source, file string, last, between []byte) {
	t.Helper()
	for _, c := range []struct {
		data []byte
		want int
	}{{between, 1}, {last, 2}} {
		replace(t, file, c.data)
		awaitSource(ctx, t, src, "the bundle", func() bool {
			bundle, err := src.GetX509BundleForTrustDomain(testDomain)
			return err == nil && len(bundle.X509Authorities()) == c.want
		})
	}
}

func TestJWTBundleFile(t *testing.T) {
	ca := newTestCA(t)
	ctx := within(t, 20*time.Second)
	src, cfg, log := opened(ctx, t, ca, ca.leaf([]string{agent}, nil), func(c *Config) {
		c.JWTBundleFile = filepath.Join(filepath.Dir(c.CertFile), "jwks")
		replace(t, c.JWTBundleFile, jwksPEM(t, testDomain, "one"))
	})
	knows := func(kid string) func() bool {
		return func() bool {
			bundle, err := src.GetJWTBundleForTrustDomain(testDomain)
			return err == nil && bundle.HasJWTAuthority(kid)
		}
	}
	if !knows("one")() {
		t.Fatal("no JWT bundle")
	}
	replace(t, cfg.JWTBundleFile, []byte(`{"keys":[]}`))
	log.await(ctx, t, 1, unusable, "part=jwt_bundle")
	if !knows("one")() {
		t.Fatal("the old JWT bundle is gone")
	}
	replace(t, cfg.JWTBundleFile, jwksPEM(t, testDomain, "two"))
	awaitSource(ctx, t, src, "the renewed JWT bundle", knows("two"))
	if knows("one")() {
		t.Error("the removed key is still there")
	}
	if err := src.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := src.GetJWTBundleForTrustDomain(testDomain); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := src.GetX509BundleForTrustDomain(testDomain); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestFilesMayComeLater: what renews the files may start after us.
func TestFilesMayComeLater(t *testing.T) {
	ca, dir := newTestCA(t), t.TempDir()
	svid := ca.leaf([]string{agent}, nil)
	cfg := write(t, dir, ca, svid)
	bundle := certPEM(ca)
	if err := os.Remove(cfg.BundleFile); err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 20*time.Second)
	cfg.Timeout = 20 * time.Second
	type result struct {
		src Source
		err error
	}
	done := make(chan result, 1)
	go func() {
		src, err := Open(ctx, cfg)
		done <- result{src, err}
	}()
	replace(t, cfg.BundleFile, bundle)
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	if !holds(r.src, svid) {
		t.Error("another SVID")
	}
	if err := r.src.Close(); err != nil {
		t.Error(err)
	}
}

func TestFilesThatNeverCome(t *testing.T) {
	ca := newTestCA(t)
	good := ca.leaf([]string{agent}, nil)
	for name, spoil := range map[string]func(*Config){
		"no bundle":     func(c *Config) { _ = os.Remove(c.BundleFile) },
		"no PEM":        func(c *Config) { replace(t, c.CertFile, []byte("canary")) },
		"key as cert":   func(c *Config) { c.CertFile = c.KeyFile },
		"cert as key":   func(c *Config) { c.KeyFile = c.CertFile },
		"a directory":   func(c *Config) { c.BundleFile = filepath.Dir(c.BundleFile) },
		"another SVID":  func(c *Config) { c.ID = spiffeid.RequireFromString(agent + "2") },
		"wrong domain":  func(c *Config) { c.TrustDomain = spiffeid.RequireTrustDomainFromString("evil.cloud") },
		"no JWT bundle": func(c *Config) { c.JWTBundleFile = c.BundleFile + ".jwks" },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := write(t, t.TempDir(), ca, good)
			cfg.Timeout = 50 * time.Millisecond
			spoil(&cfg)
			src, err := Open(t.Context(), cfg)
			if err == nil {
				_ = src.Close()
				t.Fatal("it opens")
			}
			tellsNobody(t, err)
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cfg := write(t, t.TempDir(), ca, good)
	cfg.CertFile += ".absent"
	if _, err := Open(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that gave up: %v", err)
	}
}
