package dev

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

const (
	caLife   = 10 * 365 * 24 * time.Hour
	backdate = time.Minute // for clocks that differ a little
	caCert   = "ca.pem"
	caKey    = "ca-key.pem"
)

// CA is the authority of a dev cluster's trust domain. Its keys lie in a
// directory, 0600.
type CA struct {
	td   spiffeid.TrustDomain
	cert *x509.Certificate
	key  crypto.Signer
	jwt  *jwtKeys
}

// OpenCA loads the CA of a directory, or makes one there.
func OpenCA(dir string, td spiffeid.TrustDomain) (*CA, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open CA: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, caCert)); errors.Is(err, os.ErrNotExist) {
		if err := createCA(dir, td); err != nil {
			return nil, fmt.Errorf("make CA: %w", err)
		}
	}
	ca := &CA{td: td}
	var err error
	if ca.cert, err = readCert(filepath.Join(dir, caCert)); err != nil {
		return nil, fmt.Errorf("open CA: %w", err)
	}
	if ca.key, err = readKey(filepath.Join(dir, caKey)); err != nil {
		return nil, fmt.Errorf("open CA: %w", err)
	}
	if ca.jwt, err = openJWTKeys(dir); err != nil {
		return nil, fmt.Errorf("open CA: %w", err)
	}
	if len(ca.cert.URIs) != 1 || ca.cert.URIs[0].String() != td.IDString() {
		return nil, fmt.Errorf("the CA in %s is of another trust domain", dir)
	}
	return ca, nil
}

// createCA writes the certificate last: it tells that the keys are there.
func createCA(dir string, td spiffeid.TrustDomain) error {
	key, err := newKey(filepath.Join(dir, caKey))
	if err != nil {
		return err
	}
	if _, err := newKey(filepath.Join(dir, jwtKey)); err != nil {
		return err
	}
	serial, err := newSerial()
	if err != nil {
		return err
	}
	uri, err := url.Parse(td.IDString())
	if err != nil {
		return err
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"hexrd dev"}, CommonName: "hexrd dev CA"},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caLife), URIs: []*url.URL{uri},
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, caCert), "CERTIFICATE", der)
}

func newKey(file string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(file, "PRIVATE KEY", der)
}

func writePEM(file, kind string, der []byte) error {
	f, err := os.OpenFile(file+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = pem.Encode(f, &pem.Block{Type: kind, Bytes: der})
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

func readPEM(file, kind string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%s holds no %s", file, kind)
	}
	return block.Bytes, nil
}

func readCert(file string) (*x509.Certificate, error) {
	der, err := readPEM(file, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func readKey(file string) (crypto.Signer, error) {
	der, err := readPEM(file, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s holds no signing key", file)
	}
	return signer, nil
}

// newSerial is a positive number of 127 random bits.
func newSerial() (*big.Int, error) {
	limit := new(big.Int).Lsh(big.NewInt(1), 127)
	n, err := rand.Int(rand.Reader, limit)
	if err != nil {
		return nil, err
	}
	return n.Add(n, big.NewInt(1)), nil
}

// Mint makes an SVID. With nodeSANs it also carries localhost and the loopback
// addresses, for clients that check host names.
func (ca *CA) Mint(id spiffeid.ID, ttl time.Duration, nodeSANs bool) (*x509svid.SVID, error) {
	if !id.MemberOf(ca.td) || id.Path() == "" {
		return nil, errors.New("the identity is not a workload of the CA's trust domain")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"hexrd dev"}},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(ttl), URIs: []*url.URL{id.URL()},
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if nodeSANs {
		tmpl.DNSNames = []string{"localhost"}
		tmpl.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &x509svid.SVID{ID: id, Certificates: []*x509.Certificate{cert}, PrivateKey: key}, nil
}

// Issue makes all that a Workload API serves for an identity.
func (ca *CA) Issue(id spiffeid.ID, ttl time.Duration, nodeSANs bool) (Issued, error) {
	bundle, stale, err := ca.jwtBundle()
	if err != nil {
		return Issued{}, err
	}
	svid, err := ca.Mint(id, ttl, nodeSANs)
	return Issued{
		SVID: svid, X509: ca.X509Bundle(), JWT: bundle, Stale: stale,
		Token: func(_ context.Context, audience []string) (string, error) { return ca.MintJWT(id, audience, ttl) },
	}, err
}

// X509Bundle verifies the SVIDs.
func (ca *CA) X509Bundle() *x509bundle.Bundle {
	return x509bundle.FromX509Authorities(ca.td, []*x509.Certificate{ca.cert})
}

// Pool is the bundle for crypto/tls.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// WriteBundle writes the bundle as PEM.
func (ca *CA) WriteBundle(file string) error {
	return writePEM(file, "CERTIFICATE", ca.cert.Raw)
}
