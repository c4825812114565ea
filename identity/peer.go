package identity

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// KindX509 is the kind of a peer that proved itself with an X.509-SVID.
const KindX509 = "x509"

// maxChain bounds what is built and verified for a peer.
const maxChain = 8

var (
	// ErrNoCertificate: the peer presented none.
	ErrNoCertificate = errors.New("peer presented no certificate")
	// ErrBadCertificate: it is no X.509-SVID, or no authority of the bundle signed it.
	ErrBadCertificate = errors.New("peer certificate is not a valid X.509-SVID")
	// ErrWrongTrustDomain: it is of another trust domain.
	ErrWrongTrustDomain = errors.New("peer certificate is of another trust domain")
	// ErrExpired: the time is outside the validity of the SVID, or of its chain.
	ErrExpired = errors.New("SVID has expired or is not yet valid")
)

// Peer is who is at the other end of a connection, verified.
type Peer struct {
	ID spiffeid.ID
	// NotAfter is when the verified chain ends to be valid, at the leaf's end or
	// an authority's if that comes first; or the token's end.
	NotAfter time.Time
	Kind     string            // KindX509 or KindJWT
	Digest   [sha256.Size]byte // SHA-256 of the leaf's DER, or of the token
}

// Authenticate verifies the client's certificate of a TLS connection against the
// authorities that bundles has now for td, and no others. It is called when a
// connection is accepted, and again for open ones when the bundle changes. The
// errors are ErrNoCertificate, ErrBadCertificate, ErrWrongTrustDomain and
// ErrExpired; what else fails is an ErrBadCertificate. It costs some signature
// verifications: callers keep the result for a connection.
func Authenticate(state tls.ConnectionState, bundles x509bundle.Source, td spiffeid.TrustDomain) (Peer, error) {
	if len(state.PeerCertificates) == 0 {
		return Peer{}, ErrNoCertificate
	}
	return verify(state.PeerCertificates, bundles, td, x509.ExtKeyUsageClientAuth)
}

func verify(certs []*x509.Certificate, bundles x509bundle.Source, td spiffeid.TrustDomain, use x509.ExtKeyUsage) (Peer, error) {
	leaf := certs[0]
	if len(certs) > maxChain {
		return Peer{}, fmt.Errorf("%w: chain of more than %d", ErrBadCertificate, maxChain)
	}
	id, err := leafID(leaf)
	if err != nil {
		return Peer{}, err
	}
	if td.IsZero() || !id.MemberOf(td) {
		return Peer{}, ErrWrongTrustDomain
	}
	if leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return Peer{}, fmt.Errorf("%w: key usage lacks digitalSignature", ErrBadCertificate)
	}
	if !usableFor(leaf, use) {
		return Peer{}, fmt.Errorf("%w: it is not for this side of a connection", ErrBadCertificate)
	}
	own, err := bundles.GetX509BundleForTrustDomain(td)
	if err != nil {
		return Peer{}, fmt.Errorf("%w: no bundle to verify it with", ErrBadCertificate)
	}
	_, chains, err := x509svid.Verify(certs, own)
	if err != nil {
		return Peer{}, classify(err)
	}
	return Peer{ID: id, NotAfter: validUntil(chains), Kind: KindX509, Digest: sha256.Sum256(leaf.Raw)}, nil
}

// usableFor: where extended key usages are named, this one is among them.
func usableFor(leaf *x509.Certificate, use x509.ExtKeyUsage) bool {
	return len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) == 0 ||
		slices.Contains(leaf.ExtKeyUsage, use) || slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// leafID returns the SPIFFE ID of the leaf's only URI SAN, byte for byte as it
// stands in the certificate: x509.Certificate.URIs has been through a URL
// parser, which folds the scheme's case and drops an empty fragment.
func leafID(leaf *x509.Certificate) (spiffeid.ID, error) {
	if len(leaf.URIs) != 1 {
		return spiffeid.ID{}, fmt.Errorf("%w: exactly one URI SAN is required", ErrBadCertificate)
	}
	raw, ok := rawURI(leaf)
	id, err := spiffeid.FromString(raw)
	if !ok || err != nil || id.Path() == "" {
		return spiffeid.ID{}, fmt.Errorf("%w: the URI SAN is not a workload's SPIFFE ID", ErrBadCertificate)
	}
	return id, nil
}

const tagURI = 6 // GeneralName, RFC 5280 4.2.1.6

func rawURI(leaf *x509.Certificate) (string, bool) {
	for _, ext := range leaf.Extensions {
		if !ext.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			continue
		}
		var names []asn1.RawValue
		if rest, err := asn1.Unmarshal(ext.Value, &names); err != nil || len(rest) > 0 {
			return "", false
		}
		for _, name := range names {
			if name.Class == asn1.ClassContextSpecific && name.Tag == tagURI {
				return string(name.Bytes), true
			}
		}
	}
	return "", false
}

// classify turns a verification error into one of ours, dropping its text.
func classify(err error) error {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		return ErrExpired
	}
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return fmt.Errorf("%w: signed by no authority of the bundle", ErrBadCertificate)
	}
	return ErrBadCertificate
}

// validUntil is the latest time at which one of the chains is still valid.
func validUntil(chains [][]*x509.Certificate) time.Time {
	var latest time.Time
	for _, chain := range chains {
		end := chain[0].NotAfter
		for _, cert := range chain[1:] {
			if cert.NotAfter.Before(end) {
				end = cert.NotAfter
			}
		}
		if end.After(latest) {
			latest = end
		}
	}
	return latest
}
