package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// ErrNotAuthorized: the peer is verified, but not one that the dialer wants.
// What the authorizer returned is wrapped beside it.
var ErrNotAuthorized = errors.New("peer is not authorized")

// ServerOptions are what differs between the protocols of a listener.
type ServerOptions struct {
	// ALPN are the protocols offered, the preferred one first.
	ALPN []string
	// Require makes the handshake fail with an alert without a valid certificate.
	// Otherwise one is requested, and neither its absence nor a bad one fails the
	// handshake: Authenticate on the connection's state says which, so that the
	// protocol above can answer it. A peer that does not hold its certificate's
	// key never gets through.
	Require bool
}

// ServerTLS returns the configuration of a listener that presents src's SVID,
// current at each handshake, and verifies peers of td against its bundle. TLS
// 1.3 only, no session tickets: each connection is verified in full.
func ServerTLS(src Source, td spiffeid.TrustDomain, o ServerOptions) *tls.Config {
	cfg := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
		NextProtos:             append([]string(nil), o.ALPN...),
		ClientAuth:             tls.RequestClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return certificate(src)
		},
	}
	if o.Require {
		cfg.ClientAuth = tls.RequireAnyClientCert
		cfg.VerifyConnection = func(state tls.ConnectionState) error {
			_, err := Authenticate(state, src, td)
			return err
		}
	}
	return cfg
}

// ClientTLS returns the configuration of a dialer that presents src's SVID and
// accepts a server of the SVID's own trust domain, verified with that domain's
// authorities alone, that authorize admits. Host names are not looked at: the
// SPIFFE ID is the server's name. A nil authorize admits nobody.
func ClientTLS(src Source, authorize func(spiffeid.ID) error, alpn ...string) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
		NextProtos:             append([]string(nil), alpn...),
		InsecureSkipVerify:     true, // VerifyConnection verifies in its place
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return certificate(src)
		},
		VerifyConnection: func(state tls.ConnectionState) error {
			return admit(state, src, authorize)
		},
	}
}

func admit(state tls.ConnectionState, src interface {
	x509svid.Source
	x509bundle.Source
}, authorize func(spiffeid.ID) error) error {
	own, err := src.GetX509SVID()
	if err != nil {
		return err
	}
	if len(state.PeerCertificates) == 0 {
		return ErrNoCertificate
	}
	peer, err := verify(state.PeerCertificates, src, own.ID.TrustDomain(), x509.ExtKeyUsageServerAuth)
	if err != nil {
		return err
	}
	if authorize == nil {
		return ErrNotAuthorized
	}
	if err := authorize(peer.ID); err != nil {
		return fmt.Errorf("%w: %w", ErrNotAuthorized, err)
	}
	return nil
}

func certificate(src x509svid.Source) (*tls.Certificate, error) {
	svid, err := src.GetX509SVID()
	if err != nil {
		return nil, err
	}
	cert := &tls.Certificate{PrivateKey: svid.PrivateKey, Leaf: svid.Certificates[0]}
	for _, c := range svid.Certificates {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return cert, nil
}
