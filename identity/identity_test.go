package identity

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

const agent = "spiffe://hexr.cloud/agent/acme/canary/main"

func TestAuthenticate(t *testing.T) {
	ca, other := newTestCA(t), newTestCA(t)
	one := []string{agent}
	for _, c := range []struct {
		name string
		svid *x509svid.SVID
		want error
	}{
		{"good", ca.leaf(one, nil), nil},
		{"two URIs", ca.leaf([]string{agent, agent + "2"}, nil), ErrBadCertificate},
		{"no URI", ca.leaf(nil, func(c *x509.Certificate) { c.DNSNames = []string{"x"} }), ErrBadCertificate},
		{"another trust domain", ca.leaf([]string{"spiffe://evil.cloud/agent/acme/canary/main"}, nil), ErrWrongTrustDomain},
		{"no SPIFFE ID", ca.leaf([]string{"https://hexr.cloud/agent/acme/canary/main"}, nil), ErrBadCertificate},
		{"the trust domain alone", ca.leaf([]string{"spiffe://hexr.cloud"}, nil), ErrBadCertificate},
		{"another CA", other.leaf(one, nil), ErrBadCertificate},
		{"expired", ca.leaf(one, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }), ErrExpired},
		{"not yet valid", ca.leaf(one, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), ErrExpired},
		{"a CA", ca.leaf(one, func(c *x509.Certificate) { c.IsCA = true; c.KeyUsage |= x509.KeyUsageCertSign }), ErrBadCertificate},
		{"cannot sign", ca.leaf(one, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), ErrBadCertificate},
	} {
		t.Run(c.name, func(t *testing.T) {
			state := tls.ConnectionState{PeerCertificates: c.svid.Certificates}
			peer, err := Authenticate(state, ca.bundle(), testDomain)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if err == nil && (peer.ID.String() != agent || peer.NotAfter.IsZero() || peer.Kind != KindX509) {
				t.Fatalf("peer %+v", peer)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Fatalf("the error tells who it was: %v", err)
			}
		})
	}
	if _, err := Authenticate(tls.ConnectionState{}, ca.bundle(), testDomain); !errors.Is(err, ErrNoCertificate) {
		t.Errorf("no certificate: %v", err)
	}
}

func TestNodeIDs(t *testing.T) {
	for path, want := range map[string]string{
		"/hexr/node/n1": "n1", "/hexr/node/a-b-3": "a-b-3",
		"/hexr/node/N1": "", "/hexr/node/-a": "", "/hexr/node/a-": "", "/hexr/node/a/b": "", "/hexr/operator/n1": "",
		"/hexr/node/" + strings.Repeat("a", 64): "", "/agent/a/b/c": "",
	} {
		got, err := NodeID(spiffeid.RequireFromPath(testDomain, path))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	n1 := spiffeid.RequireFromPath(testDomain, "/hexr/node/n1")
	if err := AuthorizeExactly(testDomain, "n2")(n1); !errors.Is(err, ErrWrongNode) {
		t.Errorf("another node: %v", err)
	}
	if err := AuthorizeNode(spiffeid.RequireTrustDomainFromString("evil.cloud"))(n1); !errors.Is(err, ErrNotNode) {
		t.Errorf("another trust domain: %v", err)
	}
}

// shake runs a handshake over loopback and returns both ends' errors.
func shake(t *testing.T, server, client *tls.Config) (resumed bool, serverErr, clientErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ended := make(chan error, 1)
	go func() {
		raw, err := l.Accept()
		if err != nil {
			ended <- err
			return
		}
		conn := tls.Server(raw, server)
		err = conn.Handshake()
		if err == nil {
			_, err = conn.Write([]byte("x"))
		}
		_ = conn.Close()
		ended <- err
	}()
	conn, err := tls.Dial("tcp", l.Addr().String(), client)
	if err != nil {
		return false, <-ended, err
	}
	defer func() { _ = conn.Close() }()
	_, err = conn.Read(make([]byte, 1))
	return conn.ConnectionState().DidResume, <-ended, err
}

func TestHandshakes(t *testing.T) {
	ca := newTestCA(t)
	node := ca.source(ca.leaf([]string{"spiffe://hexr.cloud/hexr/node/n1"}, nil))
	server := ServerTLS(node, testDomain, ServerOptions{ALPN: []string{"h2"}, Require: true})
	optional := ServerTLS(node, testDomain, ServerOptions{ALPN: []string{"h2"}})
	caller := ca.source(ca.leaf([]string{agent}, nil))
	client := ClientTLS(caller, AuthorizeExactly(testDomain, "n1"), "h2")
	client.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	for range 2 {
		if resumed, err1, err2 := shake(t, server, client); err1 != nil || err2 != nil || resumed {
			t.Fatalf("resumed %t, %v, %v", resumed, err1, err2)
		}
	}
	if _, _, err := shake(t, server, ClientTLS(caller, AuthorizeExactly(testDomain, "n2"), "h2")); !errors.Is(err, ErrWrongNode) {
		t.Errorf("another node than the one dialled: %v", err)
	}
	if _, _, err := shake(t, server, ClientTLS(caller, nil, "h2")); !errors.Is(err, ErrNotAuthorized) {
		t.Errorf("without an authorizer: %v", err)
	}
	bare := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
	if _, err, _ := shake(t, server, bare); err == nil {
		t.Error("no certificate, where one is required")
	}
	if _, err1, err2 := shake(t, optional, bare); err1 != nil || err2 != nil {
		t.Errorf("no certificate, where none is required: %v, %v", err1, err2)
	}
	stranger := newTestCA(t)
	wrong := ClientTLS(stranger.source(stranger.leaf([]string{agent}, nil)), AuthorizeNode(testDomain), "h2")
	if _, _, err := shake(t, server, wrong); !errors.Is(err, ErrBadCertificate) {
		t.Errorf("a server of another CA: %v", err)
	}
	old := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}, MaxVersion: tls.VersionTLS12}
	if _, err, _ := shake(t, optional, old); err == nil {
		t.Error("TLS 1.2 is spoken")
	}
}

// write puts a pair of certificate and key, and the bundle, into a directory.
func write(t *testing.T, dir string, ca *testCA, svid *x509svid.SVID) Config {
	t.Helper()
	cert, key, err := svid.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
	for name, data := range map[string][]byte{"cert": cert, "key": key, "bundle": bundle} {
		tmp := filepath.Join(dir, name+".new")
		if err := os.WriteFile(tmp, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return Config{
		CertFile: filepath.Join(dir, "cert"), KeyFile: filepath.Join(dir, "key"), BundleFile: filepath.Join(dir, "bundle"),
		PollInterval: 5 * time.Millisecond,
	}
}

func TestFilesAreRenewedUnderneath(t *testing.T) {
	ca, dir := newTestCA(t), t.TempDir()
	first, second := ca.leaf([]string{agent}, nil), ca.leaf([]string{agent}, nil)
	src, err := Open(t.Context(), write(t, dir, ca, first))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = src.Close() }()
	serial := func() []byte {
		svid, err := src.GetX509SVID()
		if err != nil {
			t.Fatal(err)
		}
		return svid.Certificates[0].Raw
	}
	if !bytes.Equal(serial(), first.Certificates[0].Raw) {
		t.Fatal("not the first SVID")
	}
	updated := src.Updated()
	// A key that does not fit is what a writer leaves half way: the old pair stays.
	_, key, err := second.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(serial(), first.Certificates[0].Raw) {
		t.Fatal("half a pair is served")
	}
	write(t, dir, ca, second)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for !bytes.Equal(serial(), second.Certificates[0].Raw) {
		select {
		case <-updated:
			updated = src.Updated()
		case <-ctx.Done():
			t.Fatal("the renewed SVID is not seen")
		}
	}
	if err := src.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := src.GetX509SVID(); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestNoWorkloadAPI(t *testing.T) {
	begin := time.Now()
	_, err := Open(t.Context(), Config{Socket: "unix://" + filepath.Join(t.TempDir(), "nobody.sock"), Timeout: 300 * time.Millisecond})
	if !errors.Is(err, ErrUnreachable) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	for _, c := range []Config{
		{Socket: "unix:///" + strings.Repeat("a", 120)}, {CertFile: "x"}, {Socket: "unix:///s", CertFile: "x"}, {Socket: "what"},
	} {
		if err := c.Validate(); err == nil {
			t.Errorf("%+v is valid", c)
		}
	}
}
