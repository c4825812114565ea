package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

var testDomain = spiffeid.RequireTrustDomainFromString("hexr.cloud")

// testCA makes certificates, good and bad.
type testCA struct {
	t    testing.TB
	cert *x509.Certificate
	key  crypto.Signer
}

func newTestCA(t testing.TB) *testCA {
	t.Helper()
	ca := &testCA{t: t, key: newTestKey(t)}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		URIs: []*url.URL{testDomain.ID().URL()},
	}
	ca.cert = ca.sign(tmpl, tmpl, ca.key.Public(), ca.key)
	return ca
}

func newTestKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (ca *testCA) sign(tmpl, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	ca.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, public, key)
	if err != nil {
		ca.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return cert
}

// leaf makes a certificate that change has made other than it should be.
func (ca *testCA) leaf(uris []string, change func(*x509.Certificate)) *x509svid.SVID {
	ca.t.Helper()
	key := newTestKey(ca.t)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, u := range uris {
		parsed, err := url.Parse(u)
		if err != nil {
			ca.t.Fatal(err)
		}
		tmpl.URIs = append(tmpl.URIs, parsed)
	}
	if change != nil {
		change(tmpl)
	}
	cert := ca.sign(tmpl, ca.cert, key.Public(), ca.key)
	id, _ := spiffeid.FromString(append(uris, "")[0])
	return &x509svid.SVID{ID: id, Certificates: []*x509.Certificate{cert}, PrivateKey: key}
}

func (ca *testCA) bundle() *x509bundle.Bundle {
	return x509bundle.FromX509Authorities(testDomain, []*x509.Certificate{ca.cert})
}

// source is the CA's bundle and one SVID.
func (ca *testCA) source(svid *x509svid.SVID) Source {
	c := newCurrent()
	c.update(func(c *current) { c.svid, c.x509 = svid, x509bundle.NewSet(ca.bundle()) })
	return fixed{c}
}

type fixed struct{ *current }

func (fixed) Close() error { return nil }
