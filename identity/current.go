package identity

import (
	"sync"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// current is the state that both kinds of source keep and serve. The SVID and
// sets that it holds are never changed in place.
type current struct {
	mu      sync.Mutex
	svid    *x509svid.SVID
	x509    *x509bundle.Set
	jwt     *jwtbundle.Set
	changed chan struct{}
	closed  bool
}

func newCurrent() *current { return &current{changed: make(chan struct{})} }

// update runs set under the lock and wakes all who wait on Updated.
func (c *current) update(set func(*current)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	set(c)
	close(c.changed)
	c.changed = make(chan struct{})
}

// shut makes the getters return ErrClosed and drops the private key.
func (c *current) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed, c.svid = true, nil
}

func (c *current) GetX509SVID() (*x509svid.SVID, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, ErrClosed
	case c.svid == nil:
		return nil, ErrNoIdentity
	}
	return c.svid, nil
}

func (c *current) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if c.x509 == nil {
		return nil, ErrNoBundle
	}
	bundle, ok := c.x509.Get(td)
	if !ok {
		return nil, ErrNoBundle
	}
	return bundle, nil
}

func (c *current) GetJWTBundleForTrustDomain(td spiffeid.TrustDomain) (*jwtbundle.Bundle, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if c.jwt == nil {
		return nil, ErrNoBundle
	}
	bundle, ok := c.jwt.Get(td)
	if !ok {
		return nil, ErrNoBundle
	}
	return bundle, nil
}

func (c *current) Updated() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}
