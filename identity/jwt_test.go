package identity

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// claims of a token; nil takes one away.
type claims map[string]any

// signToken makes a compact JWS with any claims, good and bad.
func signToken(t testing.TB, alg jose.SignatureAlgorithm, key any, kid string, c claims) string {
	t.Helper()
	payload, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func unsigned(header string, c claims) string {
	payload, _ := json.Marshal(c)
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(header)) + "." + enc(payload) + "."
}

func newTokens(t testing.TB, keys map[string]crypto.PublicKey) (*Tokens, *current) {
	t.Helper()
	src := newCurrent()
	src.update(func(c *current) { c.jwt = jwtbundle.NewSet(jwtbundle.FromJWTAuthorities(testDomain, keys)) })
	tokens, err := NewTokens(src, testDomain)
	if err != nil {
		t.Fatal(err)
	}
	return tokens, src
}

// TestTokens tries each way in which a JWT-SVID can be wrong.
func TestTokens(t *testing.T) {
	key, foreign := newTestKey(t), newTestKey(t)
	tokens, src := newTokens(t, map[string]crypto.PublicKey{"k1": key.Public()})
	other := spiffeid.RequireTrustDomainFromString("evil.cloud")
	src.update(func(c *current) {
		c.jwt.Add(jwtbundle.FromJWTAuthorities(other, map[string]crypto.PublicKey{"k1": foreign.Public()}))
	})
	now := time.Now().Unix()
	good := claims{"sub": agent, "aud": []string{Audience}, "exp": now + 300, "iat": now}
	with := func(change claims) claims {
		c := maps.Clone(good)
		for k, v := range change {
			if c[k] = v; v == nil {
				delete(c, k)
			}
		}
		return c
	}
	es := func(change claims) string { return signToken(t, jose.ES256, key, "k1", with(change)) }
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	flipped := []byte(es(nil))
	if flipped[len(flipped)-10]++; flipped[len(flipped)-10] > 'y' {
		flipped[len(flipped)-10] = 'A'
	}
	for _, c := range []struct {
		name, token string
		want        error
	}{
		{"good", es(nil), nil},
		{"good, the audience as a string", es(claims{"aud": Audience}), nil},
		{"good, of just under an hour", es(claims{"exp": now + 3599}), nil},
		{"two audiences", es(claims{"aud": []string{Audience, "db"}}), ErrBadToken},
		{"the audience twice", es(claims{"aud": []string{Audience, Audience}}), ErrBadToken},
		{"another audience", es(claims{"aud": []string{"db"}}), ErrBadToken},
		{"no audience", es(claims{"aud": nil}), ErrBadToken},
		{"expired by a second", es(claims{"exp": now - 1}), ErrExpired},
		{"expires now", es(claims{"exp": now}), ErrExpired},
		{"expired for long", es(claims{"exp": now - 3600}), ErrBadToken},
		{"more than an hour ahead", es(claims{"exp": now + 3610}), ErrBadToken},
		{"no exp", es(claims{"exp": nil}), ErrBadToken},
		{"exp of zero", es(claims{"exp": 0}), ErrBadToken},
		{"exp as a huge number", es(claims{"exp": 1e300}), ErrBadToken},
		{"not yet valid", es(claims{"nbf": now + 600}), ErrBadToken},
		{"no subject", es(claims{"sub": nil}), ErrBadToken},
		{"another trust domain", signToken(t, jose.ES256, foreign, "k1", with(claims{"sub": "spiffe://evil.cloud/agent/acme/bot/main"})), ErrBadToken},
		{"another domain's key", signToken(t, jose.ES256, foreign, "k1", good), ErrBadToken},
		{"the trust domain's own ID", es(claims{"sub": "spiffe://hexr.cloud"}), ErrBadToken},
		{"scheme in capitals", es(claims{"sub": "SPIFFE" + strings.TrimPrefix(agent, "spiffe")}), ErrBadToken},
		{"alg none", unsigned(`{"alg":"none","kid":"k1"}`, good), ErrBadToken},
		{"HMAC with the public key", signToken(t, jose.HS256, public, "k1", good), ErrBadToken},
		{"HMAC with the key's DER", signToken(t, jose.HS256, der, "k1", good), ErrBadToken},
		{"flipped signature", string(flipped), ErrBadToken},
		{"no key ID", signToken(t, jose.ES256, key, "", good), ErrBadToken},
		{"unknown key ID", signToken(t, jose.ES256, key, "k2", good), ErrBadToken},
		{"longer than 8 KiB", es(claims{"x": strings.Repeat("x", 9000)}), ErrBadToken},
		{"empty", "", ErrBadToken},
		{"no token", "a.b.c", ErrBadToken},
		{"JSON serialization", `{"payload":"e30","signatures":[]}`, ErrBadToken},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 2 { // what was refused is not remembered as good
				peer, err := tokens.Verify(c.token)
				if !errors.Is(err, c.want) {
					t.Fatalf("error %v, want %v", err, c.want)
				}
				if err == nil && (peer.ID.String() != agent || peer.Kind != KindJWT || peer.NotAfter.Unix() <= now) {
					t.Errorf("peer %+v", peer)
				}
				if tokens.Known(c.token) != (err == nil) {
					t.Error("known and verified differ")
				}
				if err != nil && (strings.Contains(err.Error(), "agent/") || len(c.token) > 0 && strings.Contains(err.Error(), c.token)) {
					t.Errorf("the error tells who it is: %v", err)
				}
			}
		})
	}
}

// TestTokensEnd: a remembered token ends with its time, and with the key that
// signed it.
func TestTokensEnd(t *testing.T) {
	key := newTestKey(t)
	tokens, src := newTokens(t, map[string]crypto.PublicKey{"k1": key.Public()})
	now := time.Now()
	token := signToken(t, jose.ES256, key, "k1", claims{"sub": agent, "aud": Audience, "exp": now.Unix() + 60})
	if _, err := tokens.Verify(token); err != nil {
		t.Fatal(err)
	}
	tokens.now = func() time.Time { return now.Add(time.Minute) }
	if _, err := tokens.Verify(token); !errors.Is(err, ErrExpired) {
		t.Errorf("at its end: %v", err)
	}
	tokens.now = time.Now
	if _, err := tokens.Verify(token); err != nil {
		t.Fatal(err)
	}
	src.update(func(c *current) {
		c.jwt = jwtbundle.NewSet(jwtbundle.FromJWTAuthorities(testDomain, map[string]crypto.PublicKey{"k2": key.Public()}))
	})
	if _, err := tokens.Verify(token); !errors.Is(err, ErrBadToken) || tokens.Known(token) {
		t.Errorf("its key left the bundle: %v", err)
	}
	src.shut()
	if _, err := tokens.Verify(token); !errors.Is(err, ErrBadToken) {
		t.Errorf("without a bundle: %v", err)
	}
}

func FuzzTokens(f *testing.F) {
	key := newTestKey(f)
	tokens, _ := newTokens(f, map[string]crypto.PublicKey{"k1": key.Public()})
	f.Add(signToken(f, jose.ES256, key, "k1", claims{"sub": agent, "aud": Audience, "exp": time.Now().Unix() + 60}))
	f.Add(unsigned(`{"alg":"none","kid":"k1"}`, claims{"sub": agent, "aud": Audience}))
	f.Add(`{"payload":"e30","signatures":[{"signature":"x"}]}`)
	f.Fuzz(func(t *testing.T, token string) {
		peer, err := tokens.Verify(token)
		if err == nil && peer.ID.String() != agent {
			t.Errorf("a forged token is taken")
		}
	})
}
