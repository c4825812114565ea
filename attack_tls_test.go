package hexrd_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/cluster/clusterpb"
	"github.com/hexrdev/hexrd/internal/frames"
)

var tlsAttacks = []row{
	{"raft-port", "a raft stream, and a stream of proposals, with no certificate, an agent's, an operator's, another CA's, a node's that is no member, a member's for another cluster",
		"a TLS alert, or the end of the connection before a byte of raft; a node's proposal is refused", (*attack).raftPort},
	{"alpn", "`hexr-raft` offered beside `h2` and `http/1.1` with an agent's certificate; `h2` or `hexr-session` without one; both of `h2` and `http/1.1`; an unknown protocol",
		"raft is refused; Unauthenticated, in a session its last word; HTTP/1.1; an alert", (*attack).alpn},
	{"tls-version", "TLS 1.2, for each protocol", "an alert", (*attack).tlsVersion},
	{"tls-resumption", "a session of before is offered again", "no ticket is ever given: each connection is verified in full", (*attack).resumption},
	{"stolen-certificate", "another's certificate, without its key", "an alert", (*attack).stolenCertificate},
	{"certificate-names", "several URI SANs, the same one twice, none, a DNS name alone; a port, user, query, fragment, empty or dot segment, escape or upper case in the SPIFFE ID",
		"401, Unauthenticated", (*attack).certificateNames},
	{"certificate-uses", "a certificate that is a CA, may sign certificates or revocations, may not sign, is for servers alone, or for something else", "401, Unauthenticated",
		(*attack).certificateUses},
	{"certificate-chain", "an expired or future leaf, an expired intermediate, a self-signed certificate, another CA's with the same names, an intermediate that is no CA", "401, Unauthenticated",
		(*attack).certificateChain},
}

func (a *attack) raftPort() {
	other := newWorld(a.t)
	id := make([]byte, 16) // of no cluster
	for name, certs := range map[string][]tls.Certificate{
		"no certificate": nil, "an agent": a.as(victim), "an operator": a.as("/hexr/operator/ann"), "another CA": {other.odd(func(c *x509.Certificate) {
			c.URIs = uris("spiffe://hexr.cloud/hexr/node/n1")
		})},
		"no member": a.as("/hexr/node/n9"), "another cluster": a.as("/hexr/node/n1"),
	} {
		conn, err := a.dial(a.config(certs, "hexr-raft"))
		if err != nil {
			continue
		}
		_, _ = conn.Write(append([]byte{1}, id...))
		if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil {
			a.t.Errorf("%s: a raft stream is open", name)
		}
		a.proposeAs(name, certs, id)
	}
}

// proposeAs wants no answer, or a refusal: a proposal is a member's of this cluster.
func (a *attack) proposeAs(name string, certs []tls.Certificate, cluster []byte) {
	conn, err := a.dial(a.config(certs, "hexr-propose"))
	if err != nil {
		return
	}
	calls := frames.New(conn, 1<<20, time.Minute)
	_ = calls.Write(&clusterpb.ProposeRequest{Id: 1, ClusterId: cluster, Proposal: []byte("x")})
	var got clusterpb.ProposeResponse
	if err := calls.Read(&got); err == nil && got.GetRefusal().GetKind() != clusterpb.Refusal_KIND_NOT_MEMBER && got.GetRefusal().GetKind() != clusterpb.Refusal_KIND_WRONG_CLUSTER {
		a.t.Errorf("%s: a proposal is answered with %v", name, &got)
	}
}

func (a *attack) alpn() {
	if conn, err := a.dial(a.config(a.as(victim), "h2", "http/1.1", "hexr-raft")); err == nil {
		if p := conn.ConnectionState().NegotiatedProtocol; p != "hexr-raft" {
			a.t.Errorf("an offer of all protocols became %q", p)
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			a.t.Error("a raft stream of an agent is open")
		}
	}
	_, err := hexrv1.NewVaultClient(a.grpc(nil)).Get(a.t.Context(), &hexrv1.GetRequest{Path: canaryPath})
	if status.Code(err) != codes.Unauthenticated {
		a.t.Errorf("gRPC without a certificate: %v", err)
	}
	if conn, err := a.dial(a.config(nil, "hexr-session")); err != nil {
		a.t.Error(err)
	} else {
		var last hexrv1.Answer
		calls := frames.New(conn, 1<<20, time.Minute)
		err := calls.Read(&last)
		if err != nil || last.GetError().GetReason() != "NO_IDENTITY" || !errors.Is(calls.Read(&last), io.EOF) {
			a.t.Errorf("a session without a certificate: %v, %v", &last, err)
		}
	}
	for offer, want := range map[string]string{"h2,http/1.1": "http/1.1", "http/1.1": "http/1.1", "h2": "h2", "hexr-session,h2": "hexr-session"} {
		conn, err := a.dial(a.config(a.as(victim), strings.Split(offer, ",")...))
		if err != nil || conn.ConnectionState().NegotiatedProtocol != want {
			a.t.Errorf("%s: %v", offer, err)
		}
	}
	if _, err := a.dial(a.config(a.as(victim), "spdy/3")); err == nil {
		a.t.Error("an unknown protocol is spoken")
	}
}

func (a *attack) tlsVersion() {
	for _, alpn := range []string{"hexr-raft", "hexr-propose", "hexr-session", "h2", "http/1.1"} {
		cfg := a.config(a.as("/hexr/node/n1"), alpn)
		cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS10, tls.VersionTLS12
		if _, err := a.dial(cfg); err == nil {
			a.t.Errorf("%s over TLS 1.2", alpn)
		}
	}
}

func (a *attack) resumption() {
	for _, alpn := range []string{"hexr-session", "h2", "http/1.1"} {
		cfg := a.config(a.as(victim), alpn)
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(8)
		for range 3 {
			conn, err := a.dial(cfg)
			if err != nil {
				a.t.Fatal(err)
			}
			if conn.ConnectionState().DidResume {
				a.t.Errorf("%s: a session is resumed", alpn)
			}
			_, _ = io.WriteString(conn, map[string]string{ // a ticket would come before the answer
				"hexr-session": "\x02\xff\xff",
				"h2":           "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
				"http/1.1":     "GET /v1/whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			}[alpn])
			_, _ = conn.Read(make([]byte, 1))
			if _, ok := cfg.ClientSessionCache.Get("127.0.0.1"); ok {
				a.t.Errorf("%s: a ticket was given", alpn)
			}
		}
	}
}

func (a *attack) stolenCertificate() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	stolen := tls.Certificate{Certificate: a.as(victim)[0].Certificate, PrivateKey: key}
	conn, err := a.dial(a.config([]tls.Certificate{stolen}))
	if err != nil {
		return
	}
	_, _ = io.WriteString(conn, "GET /v1/secrets/"+canaryPath+" HTTP/1.1\r\nHost: x\r\n\r\n")
	if n, _ := conn.Read(make([]byte, 1)); n > 0 {
		a.t.Error("it is answered")
	}
}

// nobody: a certificate stands for no one, over HTTP and gRPC.
func (a *attack) nobody(name string, cert tls.Certificate) {
	a.t.Helper()
	certs := []tls.Certificate{cert}
	if _, err := x509.ParseCertificate(cert.Certificate[0]); err != nil { // nor does a node
		conn, err := a.dial(a.config(certs))
		if err != nil {
			return
		}
		if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil {
			a.t.Errorf("%s: a certificate that does not parse is taken", name)
		}
		return
	}
	a.want(name, a.send(certs, "GET /v1/secrets/"+canaryPath+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), http.StatusUnauthorized, "NO_IDENTITY")
	_, err := hexrv1.NewVaultClient(a.grpc(certs)).Get(a.t.Context(), &hexrv1.GetRequest{Path: canaryPath})
	if status.Code(err) != codes.Unauthenticated {
		a.t.Errorf("%s: gRPC: %v", name, err)
	}
}

// rawURIs is a SAN extension whose URIs stand there byte for byte.
func rawURIs(uris ...string) pkix.Extension {
	var names []asn1.RawValue
	for _, u := range uris {
		names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(u)})
	}
	value, err := asn1.Marshal(names)
	if err != nil {
		panic(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: value}
}

func (a *attack) certificateNames() {
	const id = "spiffe://hexr.cloud" + victim
	a.nobody("no URI", a.odd(func(c *x509.Certificate) { c.URIs = nil }))
	a.nobody("a DNS name", a.odd(func(c *x509.Certificate) { c.URIs, c.DNSNames = nil, []string{"hexr.cloud"} }))
	for _, ids := range [][]string{
		{id, id}, {id, "spiffe://hexr.cloud/hexr/operator/ann"}, {"https://hexr.cloud/x", id}, {"spiffe://hexr.cloud:443" + victim},
		{"spiffe://bot@hexr.cloud" + victim}, {id + "?a=b"}, {id + "?"}, {id + "#main"}, {id + "#"}, {id + "/"}, {"spiffe://hexr.cloud/agent//acme/bot/main"},
		{"spiffe://hexr.cloud/agent/evil/../acme/bot/main"}, {"spiffe://hexr.cloud/agent/acme/./bot/main"}, {"spiffe://hexr.cloud/agent/acme%2Fbot/main"},
		{"spiffe://HEXR.CLOUD" + victim}, {"SPIFFE://hexr.cloud" + victim}, {"spiffe://hexr.cloud.evil.com" + victim}, {"spiffe://evil.com" + victim},
		{"spiffe://hexr.cloud"}, {"spiffe://hexr.cloud/"}, {"spiffe:/hexr.cloud" + victim}, {"spiffe://" + victim}, {id + "\x00"}, {id + " "},
	} {
		a.nobody(strings.Join(ids, ", "), a.odd(func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{rawURIs(ids...)} }))
	}
}

func (a *attack) certificateUses() {
	for name, change := range map[string]func(*x509.Certificate){
		"a CA":              func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true },
		"signs others":      func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign },
		"signs revocations": func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign },
		"may not sign":      func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment },
		"no key usage":      func(c *x509.Certificate) { c.KeyUsage = 0 },
		"for servers":       func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} },
		"for code":          func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} },
		"an unknown use":    func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}} },
	} {
		a.nobody(name, a.odd(change))
	}
}

func (a *attack) certificateChain() {
	a.nobody("expired", a.odd(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }))
	a.nobody("not yet", a.odd(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }))
	a.nobody("another CA", newWorld(a.t).odd(func(*x509.Certificate) {}))
	for name, change := range map[string]func(*x509.Certificate){
		"an expired intermediate": func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) },
		"a leaf as an authority":  func(c *x509.Certificate) { c.IsCA = false },
	} {
		a.nobody(name, a.below(change))
	}
	a.want("a good intermediate", a.send([]tls.Certificate{a.below(func(*x509.Certificate) {})},
		"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), http.StatusOK, "acme/bot")
	self := a.below(func(*x509.Certificate) {})
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(9), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, URIs: uris("spiffe://hexr.cloud" + victim),
	}
	key := self.PrivateKey.(*ecdsa.PrivateKey)
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.nobody("self-signed", tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
}

// below is a certificate of the victim under an intermediate of the CA.
func (a *attack) below(change func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	dir := filepath.Join(a.dir, "ca")
	root, err := tls.LoadX509KeyPair(filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca-key.pem"))
	if err != nil {
		a.t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	middle := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "below"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	change(middle)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(8), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, URIs: uris("spiffe://hexr.cloud" + victim),
	}
	middleDER, err := x509.CreateCertificate(rand.Reader, middle, root.Leaf, key.Public(), root.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, middle, key.Public(), key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{leafDER, middleDER}, PrivateKey: key}
}
