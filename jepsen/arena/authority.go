package arena

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/hexrdev/hexrd/internal/dev"
)

// authority is the trust domain's: the CAs that its bundle holds, one of which
// signs. Safe for concurrent use.
type authority struct {
	dir string
	td  spiffeid.TrustDomain

	mu      sync.Mutex
	made    int
	cas     []*dev.CA // of the bundle
	signer  *dev.CA
	silent  bool
	changed chan struct{}
}

func openAuthority(dir string, td spiffeid.TrustDomain) (*authority, error) {
	a := &authority{dir: dir, td: td, changed: make(chan struct{})}
	err := a.prepare()
	if err == nil {
		a.signer = a.cas[0]
	}
	return a, err
}

// prepare adds a new CA to the bundle.
func (a *authority) prepare() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.made++
	ca, err := dev.OpenCA(filepath.Join(a.dir, fmt.Sprintf("ca-%d", a.made)), a.td)
	if err != nil {
		return err
	}
	a.cas = append(a.cas, ca)
	a.tell()
	return nil
}

// activate lets the newest CA sign.
func (a *authority) activate() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.signer = a.cas[len(a.cas)-1]
	a.tell()
}

// retire takes all CAs but the one that signs out of the bundle.
func (a *authority) retire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cas = []*dev.CA{a.signer}
	a.tell()
}

func (a *authority) tell() {
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *authority) bundle() *x509bundle.Bundle {
	var certs []*x509.Certificate
	for _, ca := range a.cas {
		certs = append(certs, ca.X509Bundle().X509Authorities()...)
	}
	return x509bundle.FromX509Authorities(a.td, certs)
}

var errSilent = errors.New("the authority issues nothing now")

// silence lets nothing be issued any more, or all again.
func (a *authority) silence(silent bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.silent = silent
}

// issue makes what a Workload API serves.
func (a *authority) issue(id spiffeid.ID, ttl time.Duration) func(context.Context) (dev.Issued, error) {
	return func(context.Context) (dev.Issued, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.silent {
			return dev.Issued{}, errSilent
		}
		issued, err := a.signer.Issue(id, ttl, false)
		issued.X509, issued.Stale = a.bundle(), a.changed
		return issued, err
	}
}

// GetX509BundleForTrustDomain is the bundle of now.
func (a *authority) GetX509BundleForTrustDomain(spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bundle(), nil
}

// PrepareCA adds a new CA to the trust bundle; ActivateCA lets it sign all SVIDs
// from now on; RetireCA takes the one before out of the bundle. All Workload APIs
// tell their processes at once.
func (c *Cluster) PrepareCA() error { return c.authority.prepare() }

// ActivateCA is the second step.
func (c *Cluster) ActivateCA() { c.authority.activate() }

// RetireCA is the last step.
func (c *Cluster) RetireCA() { c.authority.retire() }

// SilenceCA lets no SVID be issued or renewed until it is called with false.
func (c *Cluster) SilenceCA(silent bool) { c.authority.silence(silent) }

// SVIDTTL is how long SVIDs live.
func (c *Cluster) SVIDTTL() time.Duration { return c.cfg.SVIDTTL }
