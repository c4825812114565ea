package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/hexrdev/hexrd/identity"
)

// pki makes certificates and tokens as no dev cluster would, with its keys.
type pki struct {
	t    *testing.T
	cert *x509.Certificate
	key  any
	jwt  any
	kid  string
	pool *x509.CertPool
}

// openPKI reads the directory of a dev cluster's CA.
func openPKI(t *testing.T, dir string) *pki {
	t.Helper()
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		block, _ := pem.Decode(data)
		if err != nil || block == nil {
			t.Fatalf("%s: %v", name, err)
		}
		return block.Bytes
	}
	p := &pki{t: t, pool: x509.NewCertPool()}
	var err1, err2, err3 error
	p.cert, err1 = x509.ParseCertificate(read("ca.pem"))
	p.key, err2 = x509.ParsePKCS8PrivateKey(read("ca-key.pem"))
	p.jwt, err3 = x509.ParsePKCS8PrivateKey(read("jwt-key.pem"))
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	p.pool.AddCert(p.cert)
	return p
}

// foreign is a CA that nobody trusts, under any name.
func foreign(t *testing.T, name string) *pki {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &pki{t: t, cert: cert, key: key, jwt: key, kid: name}
}

// leaf is an SVID of the trust domain, changed in any way.
func (p *pki) leaf(path string, change func(*x509.Certificate)) tls.Certificate {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		p.t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		URIs: []*url.URL{{Scheme: "spiffe", Host: "hexr.cloud", Path: path}}, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, p.cert, key.Public(), p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// token is a JWT-SVID, changed in any way.
func (p *pki) token(path, kid string, change func(*jwt.Claims)) string {
	p.t.Helper()
	c := jwt.Claims{
		Subject: "spiffe://hexr.cloud" + path, Audience: jwt.Audience{identity.Audience},
		Expiry: jwt.NewNumericDate(time.Now().Add(time.Minute)),
	}
	if change != nil {
		change(&c)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.jwt, KeyID: kid}}, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(c).Serialize()
	if err != nil {
		p.t.Fatal(err)
	}
	return token
}

// withCertificates has canaries in all names of certificates, good and bad.
func (r *canaryRun) withCertificates(addr string) {
	other := foreign(r.t, r.name())
	for _, p := range []*pki{r.pki, other} {
		for _, change := range []func(*x509.Certificate){
			nil,
			func(c *x509.Certificate) {
				c.Subject = pkix.Name{CommonName: r.name(), Organization: []string{r.name()}, SerialNumber: r.name()}
				c.DNSNames, c.EmailAddresses = []string{r.name() + ".example"}, []string{r.name() + "@example"}
				c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
			},
			func(c *x509.Certificate) {
				c.URIs = append(c.URIs, &url.URL{Scheme: "spiffe", Host: "hexr.cloud", Path: "/" + r.name()})
			},
			func(c *x509.Certificate) { c.URIs[0].Host = r.name() + ".example" },
			func(c *x509.Certificate) { c.URIs[0].Path = "/" + r.name() + "//" + r.name() },
			func(c *x509.Certificate) { c.URIs[0].Scheme = "https" },
			func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) },
			func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment },
			func(c *x509.Certificate) { c.URIs[0].Path = "/hexr/node/" + r.name() },
		} {
			cert := p.leaf(r.agentPath(), change)
			for _, alpn := range []string{"http/1.1", "h2", "hexr-raft"} {
				conn, err := tls.Dial("tcp", addr, &tls.Config{
					Certificates: []tls.Certificate{cert}, NextProtos: []string{alpn}, InsecureSkipVerify: true,
				})
				if err != nil {
					continue
				}
				_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
				_, _ = conn.Write([]byte("GET /v1/whoami?" + r.name() + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
				_ = conn.CloseWrite()
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}
		}
	}
}

// withTokens has canaries in all claims of tokens, good and bad.
func (r *canaryRun) withTokens(addr string) {
	b := newBearer(r.t, r.dir, "acme/bot")
	other := foreign(r.t, r.name())
	kid := kidOf(r.t, b.token)
	for _, c := range []struct {
		token  string
		status int
	}{
		{r.pki.token(r.agentPath(), kid, nil), 404},
		{r.pki.token(r.agentPath(), kid, func(c *jwt.Claims) { c.Issuer, c.ID = r.name(), r.name() }), 404},
		{r.pki.token(r.agentPath(), kid, func(c *jwt.Claims) { c.Audience = jwt.Audience{r.name()} }), 401},
		{r.pki.token(r.agentPath(), kid, func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(time.Now().Add(-time.Hour)) }), 401},
		{r.pki.token("/"+r.name(), kid, nil), 401},
		{r.pki.token("/hexr/operator/"+r.name(), kid, nil), 401},
		{r.pki.token(r.agentPath(), r.name(), nil), 401},
		{other.token(r.agentPath(), kid, nil), 401},
		{r.name(), 401},
		{r.name() + "." + r.name() + "." + r.name(), 401},
	} {
		b.token = c.token
		if status, answer := b.call("GET", "https://"+addr, "/v1/secrets/"+r.name(), ""); status != c.status {
			r.t.Errorf("%d %s, not %d", status, answer, c.status)
		}
	}
}

func kidOf(t *testing.T, token string) string {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || len(parsed.Headers) != 1 {
		t.Fatal(err)
	}
	return parsed.Headers[0].KeyID
}
