package identity

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

const node1 = "spiffe://hexr.cloud/hexr/node/n1"

// met is what both ends know after a handshake over loopback and one byte each
// way.
type met struct {
	client, server       tls.ConnectionState
	clientErr, serverErr error
}

func meet(t *testing.T, server, client *tls.Config) met {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	var m met
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		raw, err := l.Accept()
		if err != nil {
			m.serverErr = err
			return
		}
		conn := tls.Server(raw, server)
		defer func() { _ = conn.Close() }()
		m.server, m.serverErr = exchange(ctx, conn)
	}()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, client)
	m.client, m.clientErr = exchange(ctx, conn)
	_ = conn.Close()
	<-ended
	return m
}

func exchange(ctx context.Context, conn *tls.Conn) (tls.ConnectionState, error) {
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return tls.ConnectionState{}, err
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		return tls.ConnectionState{}, err
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		return tls.ConnectionState{}, err
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return tls.ConnectionState{}, err
	}
	return conn.ConnectionState(), nil
}

func TestBothEndsKnowEachOther(t *testing.T) {
	ca := newTestCA(t)
	svid := ca.leaf([]string{agent}, nil)
	server := ServerTLS(ca.source(ca.leaf([]string{node1}, nil)), testDomain, ServerOptions{ALPN: []string{"hexr-raft", "h2"}, Require: true})
	m := meet(t, server, ClientTLS(ca.source(svid), AuthorizeNode(testDomain), "h2"))
	if m.clientErr != nil || m.serverErr != nil {
		t.Fatal(m.clientErr, m.serverErr)
	}
	if m.server.Version != tls.VersionTLS13 || m.server.NegotiatedProtocol != "h2" {
		t.Errorf("version %x, protocol %q", m.server.Version, m.server.NegotiatedProtocol)
	}
	peer, err := Authenticate(m.server, ca.bundle(), testDomain)
	if err != nil || peer.ID.String() != agent || peer.Digest != sha256.Sum256(svid.Certificates[0].Raw) {
		t.Errorf("the server sees %+v, %v", peer, err)
	}
	peer, err = Authenticate(m.client, ca.bundle(), testDomain)
	if err != nil || peer.ID.String() != node1 {
		t.Errorf("the client sees %+v, %v", peer, err)
	}
}

// callers are who may come to a listener, and what Authenticate says of them.
func callers(t *testing.T, ca *testCA) map[string]struct {
	svid *x509svid.SVID
	want error
} {
	t.Helper()
	one := []string{agent}
	return map[string]struct {
		svid *x509svid.SVID
		want error
	}{
		"good":         {ca.leaf(one, nil), nil},
		"none":         {nil, ErrNoCertificate},
		"expired":      {ca.leaf(one, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }), ErrExpired},
		"two IDs":      {ca.leaf([]string{agent, agent + "2"}, nil), ErrBadCertificate},
		"no ID":        {ca.leaf(nil, func(c *x509.Certificate) { c.DNSNames = []string{"canary"} }), ErrBadCertificate},
		"other domain": {ca.leaf([]string{"spiffe://evil.cloud/canary"}, nil), ErrWrongTrustDomain},
		"other CA":     {newTestCA(t).leaf(one, nil), ErrBadCertificate},
	}
}

func TestRequiredCertificatesAreVerifiedInTheHandshake(t *testing.T) {
	ca := newTestCA(t)
	server := ServerTLS(ca.source(ca.leaf([]string{node1}, nil)), testDomain, ServerOptions{ALPN: []string{"h2"}, Require: true})
	for name, c := range callers(t, ca) {
		t.Run(name, func(t *testing.T) {
			m := meet(t, server, dialer(t, c.svid))
			if (m.serverErr == nil) != (c.want == nil) || (m.clientErr == nil) != (c.want == nil) {
				t.Fatalf("the server has %v, the client %v, want %v", m.serverErr, m.clientErr, c.want)
			}
			if c.want != nil && !errors.Is(c.want, ErrNoCertificate) && !errors.Is(m.serverErr, c.want) {
				t.Fatalf("error %v, want %v", m.serverErr, c.want)
			}
			tellsNobody(t, m.serverErr)
			tellsNobody(t, m.clientErr)
		})
	}
}

func TestOptionalCertificatesAreTheProtocolsToAnswer(t *testing.T) {
	ca := newTestCA(t)
	server := ServerTLS(ca.source(ca.leaf([]string{node1}, nil)), testDomain, ServerOptions{ALPN: []string{"h2"}})
	for name, c := range callers(t, ca) {
		t.Run(name, func(t *testing.T) {
			m := meet(t, server, dialer(t, c.svid))
			if m.serverErr != nil || m.clientErr != nil {
				t.Fatal(m.serverErr, m.clientErr)
			}
			_, err := Authenticate(m.server, ca.bundle(), testDomain)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			tellsNobody(t, err)
		})
	}
}

// dialer presents what a well-behaved client would not, and takes any server.
func dialer(t *testing.T, svid *x509svid.SVID) *tls.Config {
	t.Helper()
	cfg := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
	if svid == nil {
		return cfg
	}
	cert := tls.Certificate{PrivateKey: svid.PrivateKey}
	for _, c := range svid.Certificates {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	return cfg
}

func TestACertificateWithoutItsKeyNeverGetsThrough(t *testing.T) {
	ca := newTestCA(t)
	stolen := ca.leaf([]string{agent}, nil)
	stolen.PrivateKey = newTestKey(t)
	for _, require := range []bool{false, true} {
		server := ServerTLS(ca.source(ca.leaf([]string{node1}, nil)), testDomain, ServerOptions{ALPN: []string{"h2"}, Require: require})
		m := meet(t, server, dialer(t, stolen))
		if m.serverErr == nil || m.clientErr == nil {
			t.Errorf("required %t: it got through", require)
		}
		tellsNobody(t, m.serverErr)
	}
}

func TestTheDialerTakesNobodyElse(t *testing.T) {
	ca := newTestCA(t)
	caller := ca.source(ca.leaf([]string{agent}, nil))
	for name, c := range map[string]struct {
		server    *x509svid.SVID
		authorize func(spiffeid.ID) error
		want      error
	}{
		"the node":         {ca.leaf([]string{node1}, nil), AuthorizeExactly(testDomain, "n1"), nil},
		"any node":         {ca.leaf([]string{node1}, nil), AuthorizeNode(testDomain), nil},
		"another node":     {ca.leaf([]string{node1}, nil), AuthorizeExactly(testDomain, "n2"), ErrWrongNode},
		"no node":          {ca.leaf([]string{agent}, nil), AuthorizeNode(testDomain), ErrNotNode},
		"an agent":         {ca.leaf([]string{agent}, nil), AuthorizeExactly(testDomain, "n1"), ErrNotNode},
		"nobody wanted":    {ca.leaf([]string{node1}, nil), nil, ErrNotAuthorized},
		"another domain's": {ca.leaf([]string{"spiffe://evil.cloud/hexr/node/n1"}, nil), AuthorizeNode(testDomain), ErrWrongTrustDomain},
		"for clients alone": {ca.leaf([]string{node1}, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}), AuthorizeNode(testDomain), ErrBadCertificate},
		"expired": {ca.leaf([]string{node1}, func(c *x509.Certificate) {
			c.NotAfter = time.Now().Add(-time.Second)
		}), AuthorizeNode(testDomain), ErrExpired},
	} {
		t.Run(name, func(t *testing.T) {
			server := ServerTLS(ca.source(c.server), testDomain, ServerOptions{ALPN: []string{"h2"}, Require: true})
			m := meet(t, server, ClientTLS(caller, c.authorize, "h2"))
			if !errors.Is(m.clientErr, c.want) || (m.clientErr == nil) != (c.want == nil) {
				t.Fatalf("error %v, want %v", m.clientErr, c.want)
			}
			tellsNobody(t, m.clientErr)
			tellsNobody(t, m.serverErr)
		})
	}
}

// TestConnectionsAreNotResumed: also a client that would like to is verified in
// full each time, so a bundle that changes between two connections counts.
func TestConnectionsAreNotResumed(t *testing.T) {
	ca := newTestCA(t)
	state := newCurrent()
	state.update(func(c *current) {
		c.svid, c.x509 = ca.leaf([]string{node1}, nil), x509bundle.NewSet(ca.bundle())
	})
	server := ServerTLS(fixed{state}, testDomain, ServerOptions{ALPN: []string{"h2"}, Require: true})
	client := dialer(t, ca.leaf([]string{agent}, nil))
	client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	client.ServerName = "localhost"
	for range 2 {
		m := meet(t, server, client)
		if m.serverErr != nil || m.clientErr != nil || m.client.DidResume || m.server.DidResume {
			t.Fatal(m.serverErr, m.clientErr, m.client.DidResume, m.server.DidResume)
		}
	}
	other := newTestCA(t)
	state.update(func(c *current) { c.x509 = x509bundle.NewSet(other.bundle()) })
	if m := meet(t, server, client); !errors.Is(m.serverErr, ErrBadCertificate) {
		t.Errorf("its authority was removed: %v", m.serverErr)
	}
}

func TestEachHandshakeHasTheCurrentSVID(t *testing.T) {
	ca := newTestCA(t)
	first, second := ca.leaf([]string{node1}, nil), ca.leaf([]string{node1}, nil)
	state := newCurrent()
	state.update(func(c *current) { c.svid, c.x509 = first, x509bundle.NewSet(ca.bundle()) })
	server := ServerTLS(fixed{state}, testDomain, ServerOptions{ALPN: []string{"h2"}})
	client := ClientTLS(ca.source(ca.leaf([]string{agent}, nil)), AuthorizeNode(testDomain), "h2")
	for _, want := range []*x509svid.SVID{first, second} {
		state.update(func(c *current) { c.svid = want })
		m := meet(t, server, client)
		if m.clientErr != nil || !m.client.PeerCertificates[0].Equal(want.Certificates[0]) {
			t.Fatal("not the current SVID", m.clientErr)
		}
	}
	state.shut()
	if m := meet(t, server, client); !errors.Is(m.serverErr, ErrClosed) {
		t.Errorf("a listener whose source is closed: %v", m.serverErr)
	}
}

func TestADialerWithoutIdentity(t *testing.T) {
	ca := newTestCA(t)
	server := ServerTLS(ca.source(ca.leaf([]string{node1}, nil)), testDomain, ServerOptions{ALPN: []string{"h2"}})
	closed := newCurrent()
	closed.shut()
	for want, src := range map[error]Source{ErrClosed: fixed{closed}, ErrNoIdentity: fixed{newCurrent()}} {
		if m := meet(t, server, ClientTLS(src, AuthorizeNode(testDomain), "h2")); !errors.Is(m.clientErr, want) {
			t.Errorf("error %v, want %v", m.clientErr, want)
		}
	}
}
