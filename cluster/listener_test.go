package cluster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	caKey, _  = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	caCert    = sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, caKey.Public())
	testID    = [16]byte{1}
	longLived = time.Hour
)

func sign(tmpl, parent *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	tmpl.SerialNumber, tmpl.NotBefore = big.NewInt(1), time.Now().Add(-time.Minute)
	if tmpl.NotAfter.IsZero() {
		tmpl.NotAfter = time.Now().Add(time.Hour)
	}
	if parent == nil {
		parent = tmpl
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, public, caKey)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return cert
}

// plainTLS tells peers apart by their common name: node/n1, agent/a. SPIFFE is
// package identity's.
type plainTLS struct {
	cert    tls.Certificate
	mu      sync.Mutex
	updated chan struct{}
	refused bool // by the bundle of now
}

func newTLS(name string, life time.Duration) *plainTLS {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{NotAfter: time.Now().Add(life), KeyUsage: x509.KeyUsageDigitalSignature, DNSNames: []string{"node"}}
	tmpl.Subject.CommonName = name
	leaf := sign(tmpl, caCert, key.Public())
	return &plainTLS{cert: tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}, updated: make(chan struct{})}
}

func (p *plainTLS) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(caCert)
	return pool
}

func (p *plainTLS) Server(alpn []string, require bool) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: alpn, Certificates: []tls.Certificate{p.cert}, ClientAuth: tls.RequestClientCert}
	if require {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, p.pool()
	}
	return c
}

func (p *plainTLS) Client(nodeID string, alpn ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: alpn, Certificates: []tls.Certificate{p.cert}, RootCAs: p.pool(), ServerName: "node",
		VerifyConnection: func(s tls.ConnectionState) error {
			if _, err := p.Authenticate(s); err != nil {
				return err
			}
			name := s.PeerCertificates[0].Subject.CommonName
			if nodeID != "" && name != "node/"+nodeID {
				return errors.New("another node")
			}
			return nil
		},
	}
}

func (p *plainTLS) Authenticate(s tls.ConnectionState) (Peer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(s.PeerCertificates) == 0 || p.refused {
		return Peer{}, errors.New("no certificate")
	}
	leaf := s.PeerCertificates[0]
	name := leaf.Subject.CommonName
	node, _ := strings.CutPrefix(name, "node/")
	if node == name {
		node = ""
	}
	return Peer{ID: name, Node: node, NotAfter: leaf.NotAfter, Kind: "x509"}, nil
}

func (p *plainTLS) Updated() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.updated
}

func (p *plainTLS) refuse() {
	p.mu.Lock()
	p.refused = true
	p.mu.Unlock()
	p.renew()
}

func (p *plainTLS) leaf() []*x509.Certificate {
	leaf, err := x509.ParseCertificate(p.cert.Certificate[0])
	if err != nil {
		panic(err)
	}
	return []*x509.Certificate{leaf}
}

func (p *plainTLS) renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.updated)
	p.updated = make(chan struct{})
}

// members is who is admitted.
type members struct {
	mu      sync.Mutex
	ids     map[string]bool
	blocked map[string]bool
	changed chan struct{}
}

func newMembers(ids ...string) *members {
	m := &members{ids: map[string]bool{}, blocked: map[string]bool{}, changed: make(chan struct{})}
	for _, id := range ids {
		m.ids[id] = true
	}
	return m
}

func (m *members) IsMember(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ids[id]
}

func (m *members) Blocked(p Peer) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.blocked[p.ID]
}

func (m *members) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

func (m *members) change(do func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	do()
	close(m.changed)
	m.changed = make(chan struct{})
}

func listen(t *testing.T, id *plainTLS, adm Admission, limits Limits) *Listener {
	t.Helper()
	l, err := Listen(t.Context(), Config{
		Bind: "127.0.0.1:0", Advertise: "127.0.0.1:1", TLS: id, Admission: adm, ClusterID: func() [16]byte { return testID }, Limits: limits,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func dialTLS(t *testing.T, l *Listener, as *plainTLS, alpn ...string) (*tls.Conn, error) {
	t.Helper()
	cfg := as.Client("", alpn...)
	if as == nobody {
		cfg.Certificates = nil
	}
	conn, err := tls.Dial("tcp", l.Addr().String(), cfg)
	if err == nil {
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	}
	return conn, err
}

var nobody = newTLS("nobody", longLived)

// gone waits until the other side has closed.
func gone(t *testing.T, c net.Conn, why string) {
	t.Helper()
	_, err := c.Read(make([]byte, 1))
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("%s: the connection is still open: %v", why, err)
	}
}

func TestProtocolsByALPN(t *testing.T) {
	l := listen(t, newTLS("node/n1", longLived), newMembers("n2"), Limits{})
	agent := newTLS("agent/a", longLived)
	for _, c := range []struct {
		name  string
		alpn  []string
		as    *plainTLS
		from  net.Listener
		peer  string
		proto string
	}{
		{"gRPC", []string{"h2"}, agent, l.GRPC(), "agent/a", "h2"},
		{"HTTP", []string{"http/1.1"}, agent, l.HTTP(), "agent/a", "http/1.1"},
		{"both is HTTP", []string{"h2", "http/1.1"}, agent, l.HTTP(), "agent/a", "http/1.1"},
		{"neither is HTTP", nil, agent, l.HTTP(), "agent/a", ""},
		{"HTTP without a certificate", []string{"http/1.1"}, nobody, l.HTTP(), "", "http/1.1"},
		{"gRPC without a certificate is answered in gRPC", []string{"h2"}, nobody, l.GRPC(), "", "h2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, err := dialTLS(t, l, c.as, c.alpn...)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.from.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if p := got.(*Conn).Peer(); p.ID != c.peer {
				t.Errorf("peer %q", p.ID)
			}
			if p := conn.ConnectionState().NegotiatedProtocol; p != c.proto {
				t.Errorf("protocol %q", p)
			}
		})
	}
}

func TestRaftStreams(t *testing.T) {
	adm := newMembers("n1", "n2")
	n1, n2 := newTLS("node/n1", longLived), newTLS("node/n2", longLived)
	l := listen(t, n1, adm, Limits{})
	streams := NewStreamLayer(l, nil)
	from := func(id *plainTLS, cluster [16]byte, expect string) (net.Conn, error) {
		own := listen(t, id, adm, Limits{})
		own.cfg.ClusterID = func() [16]byte { return cluster }
		dialer := NewStreamLayer(own, func(string) (string, bool) { return expect, expect != "" })
		return dialer.Dial(raftAddress(l), 5*time.Second)
	}
	conn, err := from(n2, testID, "n1")
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := streams.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("raft")); err != nil {
		t.Fatal(err)
	}
	if b := make([]byte, 4); true {
		if _, err := io.ReadFull(accepted, b); err != nil || string(b) != "raft" {
			t.Fatal(err)
		}
	}
	for name, try := range map[string]func() (net.Conn, error){
		"a node that is no member":  func() (net.Conn, error) { return from(newTLS("node/n9", longLived), testID, "n1") },
		"an agent":                  func() (net.Conn, error) { return from(newTLS("agent/a", longLived), testID, "n1") },
		"another cluster":           func() (net.Conn, error) { return from(n2, [16]byte{2}, "n1") },
		"another node than dialled": func() (net.Conn, error) { return from(n2, testID, "n3") },
		"an address of nobody":      func() (net.Conn, error) { return from(n2, testID, "") },
	} {
		if _, err := try(); err == nil {
			t.Errorf("%s opens a raft stream", name)
		}
	}
	adm.change(func() { delete(adm.ids, "n2") })
	gone(t, conn, "a member was removed")
}

func TestConnectionsEnd(t *testing.T) {
	open := func(t *testing.T, l *Listener, as *plainTLS) net.Conn {
		t.Helper()
		conn, err := dialTLS(t, l, as, "h2")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.GRPC().Accept(); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	t.Run("with the SVID", func(t *testing.T) {
		l := listen(t, newTLS("node/n1", longLived), newMembers(), Limits{})
		gone(t, open(t, l, newTLS("agent/a", 2*time.Second)), "the SVID has ended")
	})
	t.Run("with the bundle", func(t *testing.T) {
		id := newTLS("node/n1", longLived)
		conn := open(t, listen(t, id, newMembers(), Limits{}), newTLS("agent/a", longLived))
		id.refuse()
		gone(t, conn, "the bundle has changed")
	})
	t.Run("with a block", func(t *testing.T) {
		adm := newMembers()
		conn := open(t, listen(t, newTLS("node/n1", longLived), adm, Limits{}), newTLS("agent/a", longLived))
		adm.change(func() { adm.blocked["agent/a"] = true })
		gone(t, conn, "the caller was blocked")
	})
	t.Run("with age", func(t *testing.T) {
		l := listen(t, newTLS("node/n1", longLived), newMembers(), Limits{MaxAge: 50 * time.Millisecond})
		gone(t, open(t, l, newTLS("agent/a", longLived)), "it is too old")
	})
}

// TestHandshakeFlood: half-open connections push each other out, and others get in.
func TestHandshakeFlood(t *testing.T) {
	l := listen(t, newTLS("node/n1", longLived), newMembers(), Limits{Handshakes: 8, HandshakesSource: 4})
	var half []net.Conn
	for range 20 {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
		half = append(half, conn)
	}
	gone(t, half[0], "the oldest of too many half-open connections")
	if _, err := dialTLS(t, l, newTLS("agent/a", longLived), "h2"); err != nil {
		t.Fatal(err)
	}
}
