package identity

import (
	"crypto/sha256"
	"errors"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
)

const (
	// KindJWT is the kind of a peer that proved itself with a JWT-SVID.
	KindJWT = "jwt"
	// Audience is the one audience of a JWT-SVID for hexrd.
	Audience = "hexr-vault"

	maxToken      = 8 << 10
	maxTokenAhead = time.Hour
	verifiedKept  = 4096
)

// ErrBadToken: it is no JWT-SVID for hexrd, of this trust domain, signed by a key
// of its bundle, and valid now.
var ErrBadToken = errors.New("not a valid JWT-SVID")

// Tokens verifies JWT-SVIDs (SPIFFE JWT-SVID specification) more strictly than
// go-spiffe, which takes one audience of several, and a token a minute past its
// end. It remembers tokens that it verified, for as long as the bundle stays as
// it is. It is safe for concurrent use.
type Tokens struct {
	bundles  jwtbundle.Source
	td       spiffeid.TrustDomain
	now      func() time.Time
	verified *lru.Cache[[sha256.Size]byte, verifiedToken]
}

type verifiedToken struct {
	peer   Peer
	bundle *jwtbundle.Bundle
}

// NewTokens verifies tokens of td with the authorities that bundles has for it.
func NewTokens(bundles jwtbundle.Source, td spiffeid.TrustDomain) (*Tokens, error) {
	verified, err := lru.New[[sha256.Size]byte, verifiedToken](verifiedKept)
	if err != nil {
		return nil, err
	}
	return &Tokens{bundles: bundles, td: td, now: time.Now, verified: verified}, nil
}

// Known reports whether the token was verified before and still is valid: the
// cheap part of Verify.
func (t *Tokens) Known(token string) bool {
	_, ok := t.known(sha256.Sum256([]byte(token)))
	return ok
}

func (t *Tokens) known(digest [sha256.Size]byte) (Peer, bool) {
	v, ok := t.verified.Get(digest)
	if !ok || !t.now().Before(v.peer.NotAfter) {
		return Peer{}, false
	}
	bundle, err := t.bundles.GetJWTBundleForTrustDomain(t.td)
	return v.peer, err == nil && bundle == v.bundle
}

// Verify says whose token it is. Whatever is wrong with it is ErrBadToken, but
// for its end, which is ErrExpired; neither quotes it.
func (t *Tokens) Verify(token string) (Peer, error) {
	if len(token) > maxToken {
		return Peer{}, ErrBadToken
	}
	digest := sha256.Sum256([]byte(token))
	if peer, ok := t.known(digest); ok {
		return peer, nil
	}
	bundle, err := t.bundles.GetJWTBundleForTrustDomain(t.td)
	if err != nil {
		return Peer{}, ErrBadToken
	}
	// A bundle is a source of itself alone: no other trust domain's key counts.
	svid, err := jwtsvid.ParseAndValidate(token, bundle, []string{Audience})
	if err != nil || len(svid.Audience) != 1 || !svid.ID.MemberOf(t.td) || svid.ID.Path() == "" {
		return Peer{}, ErrBadToken
	}
	now := t.now()
	switch {
	case !now.Before(svid.Expiry):
		return Peer{}, ErrExpired
	case svid.Expiry.Sub(now) > maxTokenAhead:
		return Peer{}, ErrBadToken
	}
	peer := Peer{ID: svid.ID, NotAfter: svid.Expiry, Kind: KindJWT, Digest: digest}
	t.verified.Add(digest, verifiedToken{peer, bundle})
	return peer, nil
}
