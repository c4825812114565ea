package identity

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

var oidSAN = asn1.ObjectIdentifier{2, 5, 29, 17}

// rawNames is a SAN extension whose URIs stand there byte for byte, as no URL
// printer would write them.
func rawNames(t *testing.T, uris ...string) pkix.Extension {
	t.Helper()
	names := make([]asn1.RawValue, 0, len(uris))
	for _, u := range uris {
		names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tagURI, Bytes: []byte(u)})
	}
	value, err := asn1.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: oidSAN, Value: value}
}

// child is an authority below ca.
func (ca *testCA) child(notAfter time.Time) *testCA {
	ca.t.Helper()
	key := newTestKey(ca.t)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "below"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: notAfter, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return &testCA{t: ca.t, cert: ca.sign(tmpl, ca.cert, key.Public(), ca.key), key: key}
}

// tellsNobody fails the test when the error tells who somebody is.
func tellsNobody(t *testing.T, err error) {
	t.Helper()
	if err != nil && (strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "spiffe://")) {
		t.Errorf("the error tells who it was: %v", err)
	}
}

func presented(certs ...*x509.Certificate) tls.ConnectionState {
	return tls.ConnectionState{PeerCertificates: certs}
}

// none is a source without any bundle: one that was closed.
type none struct{}

func (none) GetX509BundleForTrustDomain(spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	return nil, ErrClosed
}

func TestTheIDIsReadByteForByte(t *testing.T) {
	ca := newTestCA(t)
	for name, c := range map[string]struct {
		uri  string
		want error
	}{
		"as it should be":         {agent, nil},
		"scheme in upper case":    {"SPIFFE://hexr.cloud/agent/acme/canary/main", ErrBadCertificate},
		"domain in upper case":    {"spiffe://HEXR.cloud/agent/acme/canary/main", ErrBadCertificate},
		"an empty fragment":       {agent + "#", ErrBadCertificate},
		"an empty query":          {agent + "?", ErrBadCertificate},
		"a query":                 {agent + "?a=b", ErrBadCertificate},
		"a port":                  {"spiffe://hexr.cloud:443/agent/acme/canary/main", ErrBadCertificate},
		"a user":                  {"spiffe://canary@hexr.cloud/agent/acme/canary/main", ErrBadCertificate},
		"an escaped slash":        {"spiffe://hexr.cloud/agent/acme/canary%2Fmain", ErrBadCertificate},
		"a slash at the end":      {agent + "/", ErrBadCertificate},
		"an empty segment":        {"spiffe://hexr.cloud/agent//canary/main", ErrBadCertificate},
		"a dot segment":           {"spiffe://hexr.cloud/agent/acme/x/../canary/main", ErrBadCertificate},
		"no path but a slash":     {"spiffe://hexr.cloud/", ErrBadCertificate},
		"a domain that goes on":   {"spiffe://hexr.cloud.evil/agent/acme/canary/main", ErrWrongTrustDomain},
		"a domain below":          {"spiffe://x.hexr.cloud/agent/acme/canary/main", ErrWrongTrustDomain},
		"a scheme that begins so": {"spiffes://hexr.cloud/agent/acme/canary/main", ErrBadCertificate},
	} {
		t.Run(name, func(t *testing.T) {
			svid := ca.leaf(nil, func(leaf *x509.Certificate) { leaf.ExtraExtensions = []pkix.Extension{rawNames(t, c.uri)} })
			peer, err := Authenticate(presented(svid.Certificates...), ca.bundle(), testDomain)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if err == nil && peer.ID.String() != c.uri {
				t.Fatalf("it was read as %s", peer.ID)
			}
			tellsNobody(t, err)
		})
	}
}

func TestAuthenticateLooksAtTheWholeLeaf(t *testing.T) {
	ca, one := newTestCA(t), []string{agent}
	for name, c := range map[string]struct {
		change func(*x509.Certificate)
		want   error
	}{
		"host names beside the ID": {func(c *x509.Certificate) {
			c.DNSNames, c.IPAddresses = []string{"localhost"}, []net.IP{net.IPv6loopback}
		}, nil},
		"the same ID twice": {func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{rawNames(t, agent, agent)}
		}, ErrBadCertificate},
		"no key usage": {func(c *x509.Certificate) { c.KeyUsage = 0 }, ErrBadCertificate},
		"may sign certificates": {func(c *x509.Certificate) {
			c.KeyUsage |= x509.KeyUsageCertSign
		}, ErrBadCertificate},
		"may sign revocations": {func(c *x509.Certificate) {
			c.KeyUsage |= x509.KeyUsageCRLSign
		}, ErrBadCertificate},
		"for clients alone": {func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}, nil},
		"for everything": {func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
		}, nil},
		"for what is not said": {func(c *x509.Certificate) { c.ExtKeyUsage = nil }, nil},
		"for servers alone": {func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}, ErrBadCertificate},
		"for something else": {func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
		}, ErrBadCertificate},
		"for something that nobody knows": {func(c *x509.Certificate) {
			c.ExtKeyUsage, c.UnknownExtKeyUsage = nil, []asn1.ObjectIdentifier{{1, 2, 3}}
		}, ErrBadCertificate},
		"a critical extension that nobody knows": {func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}, ErrBadCertificate},
	} {
		t.Run(name, func(t *testing.T) {
			svid := ca.leaf(one, c.change)
			_, err := Authenticate(presented(svid.Certificates...), ca.bundle(), testDomain)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			tellsNobody(t, err)
		})
	}
	t.Run("no bundle", func(t *testing.T) {
		_, err := Authenticate(presented(ca.leaf(one, nil).Certificates...), none{}, testDomain)
		if !errors.Is(err, ErrBadCertificate) {
			t.Fatalf("error %v", err)
		}
	})
	t.Run("no trust domain", func(t *testing.T) {
		_, err := Authenticate(presented(ca.leaf(one, nil).Certificates...), ca.bundle(), spiffeid.TrustDomain{})
		if !errors.Is(err, ErrWrongTrustDomain) {
			t.Fatalf("error %v", err)
		}
	})
}

// TestForeignAuthorityVouchesForNobodyHere: a federated domain's authority may
// not sign for ours, even where the source holds its bundle.
func TestForeignAuthorityVouchesForNobodyHere(t *testing.T) {
	ca, foreign := newTestCA(t), newTestCA(t)
	evil := spiffeid.RequireTrustDomainFromString("evil.cloud")
	bundles := x509bundle.NewSet(ca.bundle(), x509bundle.FromX509Authorities(evil, []*x509.Certificate{foreign.cert}))
	for uri, want := range map[string]error{
		agent: ErrBadCertificate,
		"spiffe://evil.cloud/agent/acme/canary/main": ErrWrongTrustDomain,
	} {
		_, err := Authenticate(presented(foreign.leaf([]string{uri}, nil).Certificates...), bundles, testDomain)
		if !errors.Is(err, want) {
			t.Errorf("error %v, want %v", err, want)
		}
		tellsNobody(t, err)
	}
}

func TestAChainEndsWithItsFirstCertificate(t *testing.T) {
	ca := newTestCA(t)
	soon := time.Now().Add(10 * time.Minute).Truncate(time.Second)
	below := ca.child(soon)
	svid := below.leaf([]string{agent}, nil)
	leaf := svid.Certificates[0]
	peer, err := Authenticate(presented(leaf, below.cert), ca.bundle(), testDomain)
	if err != nil {
		t.Fatal(err)
	}
	if !peer.NotAfter.Equal(soon) || !leaf.NotAfter.After(soon) {
		t.Errorf("it is valid until %s, the authority until %s", peer.NotAfter, soon)
	}
	if peer.Digest != sha256.Sum256(leaf.Raw) {
		t.Error("another leaf's digest")
	}
	if _, err := Authenticate(presented(leaf), ca.bundle(), testDomain); !errors.Is(err, ErrBadCertificate) {
		t.Errorf("without the authority between: %v", err)
	}
	long := []*x509.Certificate{leaf}
	for len(long) <= maxChain {
		long = append(long, below.cert)
	}
	if _, err := Authenticate(presented(long...), ca.bundle(), testDomain); !errors.Is(err, ErrBadCertificate) {
		t.Errorf("a chain of %d: %v", len(long), err)
	}
	past := ca.child(time.Now().Add(-time.Minute))
	old := past.leaf([]string{agent}, nil)
	if _, err := Authenticate(presented(old.Certificates[0], past.cert), ca.bundle(), testDomain); err == nil {
		t.Error("an authority in between that has expired")
	}
}

// FuzzAuthenticate: no certificate makes it panic, and none that this authority
// did not sign gets through.
func FuzzAuthenticate(f *testing.F) {
	ca := newTestCA(f)
	stranger := newTestCA(f)
	f.Add(stranger.leaf([]string{agent}, nil).Certificates[0].Raw)
	f.Add(stranger.leaf([]string{agent, agent + "2"}, nil).Certificates[0].Raw)
	f.Add(stranger.cert.Raw)
	bundle := ca.bundle()
	f.Fuzz(func(t *testing.T, der []byte) {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		if _, err := Authenticate(presented(cert), bundle, testDomain); err == nil {
			t.Fatal("it got through")
		}
	})
}

// FuzzRawURI: the SAN extension's bytes are the peer's.
func FuzzRawURI(f *testing.F) {
	f.Add([]byte{0x30, 0x03, 0x86, 0x01, 'x'})
	f.Add([]byte{0x30, 0x80, 0, 0})
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, value []byte) {
		leaf := &x509.Certificate{Extensions: []pkix.Extension{{Id: oidSAN, Value: value}}}
		if uri, ok := rawURI(leaf); !ok && uri != "" {
			t.Fatal("a URI that is none")
		}
	})
}
