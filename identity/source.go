// Package identity says where a process's SVIDs and bundles come from, who a
// verified TLS peer is, and which TLS configurations all listeners and dialers
// share.
//
// No error or log line of this package holds a SPIFFE ID: they are agents'
// identities. The text of go-spiffe and crypto/x509 errors is never passed on,
// since both may quote the ID of a certificate.
package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

const (
	defaultTimeout = 5 * time.Second
	defaultPoll    = time.Second

	// maxSocketName is what the kernel leaves for a unix socket's name
	// (sun_path, with its terminating zero).
	maxSocketName = 107
)

var (
	// ErrUnreachable: no Workload API answered at the configured address.
	ErrUnreachable = errors.New("no SPIFFE Workload API answers")
	// ErrNoIdentity: the Workload API answers, but has no SVID for this process
	// that fits the configuration.
	ErrNoIdentity = errors.New("the SPIFFE Workload API has no fitting SVID for this process")
	// ErrNoBundle: the source holds no bundle for that trust domain.
	ErrNoBundle = errors.New("no bundle for the trust domain")
	// ErrClosed: the source was closed.
	ErrClosed = errors.New("identity source is closed")
)

// Source is the live identity of this process: its X.509-SVID and the bundles
// it verifies others with. Both kinds, Workload API and files, are behind it,
// and nothing behind them differs. All methods are safe for concurrent use.
type Source interface {
	x509svid.Source
	x509bundle.Source
	jwtbundle.Source

	// Updated returns a channel that is closed at the next change of the SVID or
	// of a bundle. Any number of callers wait on it. Take the channel first, then
	// read the source, then wait; take a new one for each wait. It is never
	// closed by Close.
	Updated() <-chan struct{}

	// Close ends what keeps the source current and waits for it. From then on
	// the getters return ErrClosed.
	Close() error
}

// Config says where the identity comes from. Either Socket or the files are
// set; with neither, the Workload API of the environment variable
// SPIFFE_ENDPOINT_SOCKET is used.
type Config struct {
	// Socket is the Workload API's address, as SPIFFE_ENDPOINT_SOCKET has it:
	// unix:///path or tcp://address:port.
	Socket string

	// CertFile (chain, leaf first), KeyFile (PKCS#8) and BundleFile are PEM;
	// JWTBundleFile is a JWKS and optional. They are read again when they change.
	CertFile, KeyFile, BundleFile, JWTBundleFile string

	// ID picks one SVID where several are offered, and is then required;
	// zero takes the first of TrustDomain (zero: of any).
	ID          spiffeid.ID
	TrustDomain spiffeid.TrustDomain

	// Timeout bounds the wait for the first SVID; 0 means 5 s.
	Timeout time.Duration
	// PollInterval is how often the files are looked at; 0 means 1 s.
	PollInterval time.Duration

	Logger *slog.Logger // nil: no log
}

// Validate says what is wrong with the configuration, without touching disk or
// network.
func (c Config) Validate() error {
	switch {
	case c.Timeout < 0 || c.PollInterval < 0:
		return errors.New("identity: timeout and poll interval must not be negative")
	case !c.ID.IsZero() && !c.TrustDomain.IsZero() && !c.ID.MemberOf(c.TrustDomain):
		return errors.New("identity: the SVID to pick is not of the trust domain given")
	case c.usesFiles():
		return c.validateFiles()
	}
	socket := c.socket()
	if socket == "" {
		return errors.New("identity: no source: set SPIFFE_ENDPOINT_SOCKET (unix:///path/to/agent.sock), " +
			"or name certificate, key and bundle files")
	}
	target, err := workloadapi.TargetFromAddress(socket)
	if err != nil {
		return fmt.Errorf("identity: workload API address: %w", err)
	}
	if len(target) > len("unix://")+maxSocketName {
		return fmt.Errorf("identity: workload API socket name is longer than %d bytes", maxSocketName)
	}
	return nil
}

func (c Config) validateFiles() error {
	if c.Socket != "" {
		return errors.New("identity: both a workload API socket and files are given: choose one")
	}
	for _, f := range []struct{ name, path string }{
		{"certificate", c.CertFile}, {"key", c.KeyFile}, {"bundle", c.BundleFile},
	} {
		if f.path == "" {
			return fmt.Errorf("identity: %s file is missing: certificate, key and bundle files go together", f.name)
		}
	}
	return nil
}

func (c Config) usesFiles() bool {
	return c.CertFile != "" || c.KeyFile != "" || c.BundleFile != "" || c.JWTBundleFile != ""
}

func (c Config) socket() string {
	if c.Socket != "" {
		return c.Socket
	}
	return os.Getenv(workloadapi.SocketEnv)
}

func (c Config) withDefaults() Config {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.PollInterval == 0 {
		c.PollInterval = defaultPoll
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// fits reports whether id is one that the configuration admits.
func (c Config) fits(id spiffeid.ID) bool {
	if !c.ID.IsZero() {
		return id == c.ID
	}
	return c.TrustDomain.IsZero() || id.MemberOf(c.TrustDomain)
}

// Open returns a source that holds an SVID, or an error once Timeout or ctx is
// over. ctx bounds Open alone; Close ends the source.
func Open(ctx context.Context, c Config) (Source, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	if c.usesFiles() {
		return openFiles(ctx, c)
	}
	return openWorkload(ctx, c)
}
