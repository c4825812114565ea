package dev

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

const (
	jwtKey      = "jwt-key.pem"
	jwtPrevious = "jwt-key-previous.pem"
	maxJWTLife  = 5 * time.Minute // as SPIRE's default
)

// jwtKeys are the CA's keys for JWT-SVIDs: the one that signs, and the one
// before it, whose tokens still count. Safe for concurrent use.
type jwtKeys struct {
	dir string

	mu      sync.Mutex
	keys    []crypto.Signer // the one that signs first
	changed chan struct{}
}

func openJWTKeys(dir string) (*jwtKeys, error) {
	k := &jwtKeys{dir: dir, changed: make(chan struct{})}
	for _, name := range []string{jwtKey, jwtPrevious} {
		key, err := readKey(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) && name == jwtPrevious {
			break
		}
		if err != nil {
			return nil, err
		}
		k.keys = append(k.keys, key)
	}
	return k, nil
}

// rotate makes a new key. The one that signed until now stays in the bundle, the
// one before leaves it.
func (k *jwtKeys) rotate() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	old, err := readPEM(filepath.Join(k.dir, jwtKey), "PRIVATE KEY")
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(k.dir, jwtPrevious), "PRIVATE KEY", old); err != nil {
		return err
	}
	next, err := newKey(filepath.Join(k.dir, jwtKey))
	if err != nil {
		return err
	}
	k.keys = []crypto.Signer{next, k.keys[0]}
	close(k.changed)
	k.changed = make(chan struct{})
	return nil
}

func (k *jwtKeys) signer() crypto.Signer {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys[0]
}

// keyID is short, and follows from the key.
func keyID(key crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:8]), nil
}

// RotateJWTKey makes a new key for JWT-SVIDs. Tokens of the key until now count
// until they end; those of the key before it no more.
func (ca *CA) RotateJWTKey() error {
	if err := ca.jwt.rotate(); err != nil {
		return fmt.Errorf("rotate the key of JWT-SVIDs: %w", err)
	}
	return nil
}

// JWTBundle verifies JWT-SVIDs of the trust domain.
func (ca *CA) JWTBundle() (*jwtbundle.Bundle, error) {
	bundle, _, err := ca.jwtBundle()
	return bundle, err
}

// jwtBundle also gives a channel that is closed when it is no longer current.
func (ca *CA) jwtBundle() (*jwtbundle.Bundle, <-chan struct{}, error) {
	ca.jwt.mu.Lock()
	defer ca.jwt.mu.Unlock()
	bundle := jwtbundle.New(ca.td)
	for _, key := range ca.jwt.keys {
		id, err := keyID(key.Public())
		if err == nil {
			err = bundle.AddJWTAuthority(id, key.Public())
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return bundle, ca.jwt.changed, nil
}

// MintJWT makes a JWT-SVID that lives for ttl, and at most 5 minutes.
func (ca *CA) MintJWT(id spiffeid.ID, audience []string, ttl time.Duration) (string, error) {
	switch {
	case !id.MemberOf(ca.td) || id.Path() == "":
		return "", errors.New("the identity is not a workload of the CA's trust domain")
	case len(audience) == 0 || slices.Contains(audience, ""):
		return "", errors.New("a JWT-SVID needs an audience")
	}
	key := ca.jwt.signer()
	kid, err := keyID(key.Public())
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: kid}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	now := time.Now()
	return jwt.Signed(signer).Claims(jwt.Claims{
		Subject: id.String(), Audience: audience, IssuedAt: jwt.NewNumericDate(now),
		Expiry: jwt.NewNumericDate(now.Add(min(ttl, maxJWTLife))),
	}).Serialize()
}
