package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

const identityTimeout = 5 * time.Second

// source is the SVID and the bundles of this process.
type source interface {
	x509svid.Source
	x509bundle.Source
	Close() error
}

func openSource(ctx context.Context, c Config) (source, error) {
	if c.CertFile != "" {
		f := files{c}
		_, err := f.GetX509SVID()
		return f, err
	}
	ctx, cancel := context.WithTimeout(ctx, identityTimeout)
	defer cancel()
	src, err := workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(workloadapi.WithAddr(c.socket())))
	if err != nil {
		return nil, errors.New("the SPIFFE Workload API gives no SVID within 5 s: " +
			"is its agent running, and is this process registered?")
	}
	return src, nil
}

// files are read for each connection, so that a renewal is seen.
type files struct{ c Config }

func (f files) GetX509SVID() (*x509svid.SVID, error) {
	svid, err := x509svid.Load(f.c.CertFile, f.c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("load SVID from %s and %s: not a pair of certificate and key", f.c.CertFile, f.c.KeyFile)
	}
	return svid, nil
}

func (f files) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	b, err := x509bundle.Load(td, f.c.BundleFile)
	if err != nil {
		return nil, fmt.Errorf("load bundle from %s: not PEM certificates", f.c.BundleFile)
	}
	return b, nil
}

func (files) Close() error { return nil }

// alpnSession is what a node that knows sessions chooses; an older one chooses gRPC.
const alpnSession = "hexr-session"

// dialSessions makes connections that carry calls.
func dialSessions(addr string, cfg *tls.Config) dialer {
	d := tls.Dialer{Config: cfg.Clone()}
	d.Config.NextProtos = []string{alpnSession, "h2"}
	return func(ctx context.Context) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		if conn.(*tls.Conn).ConnectionState().NegotiatedProtocol != alpnSession {
			_ = conn.Close()
			return nil, errAlone
		}
		return conn, nil
	}
}

var errNotNode = errors.New("the server is not a hexrd node of this trust domain")

// tlsConfig accepts nodes of the trust domain of the client's own SVID, verified
// with that domain's authorities alone.
func tlsConfig(src source) (*tls.Config, error) {
	svid, err := src.GetX509SVID()
	if err != nil {
		return nil, err
	}
	td := svid.ID.TrustDomain()
	authorize := tlsconfig.AdaptMatcher(func(id spiffeid.ID) error {
		if !id.MemberOf(td) || !strings.HasPrefix(id.Path(), "/hexr/node/") {
			return errNotNode
		}
		return nil
	})
	cfg := tlsconfig.MTLSClientConfig(src, src, authorize)
	cfg.MinVersion = tls.VersionTLS13
	return cfg, nil
}
