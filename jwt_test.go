package hexrd_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/hexrdev/hexrd"
	"github.com/hexrdev/hexrd/identity"
)

// lines is a log that a test looks at.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// bearers is a world whose node has its identity from files, with a JWKS.
type bearers struct {
	*world
	key  *ecdsa.PrivateKey
	jwks string
	log  *lines
}

func newBearers(t *testing.T) *bearers {
	t.Helper()
	b := &bearers{world: newWorld(t), log: &lines{}}
	var err error
	if b.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	b.jwks = filepath.Join(b.dir, "jwks.json")
	b.trust("k1", b.key.Public())
	svid, err := b.ca.Mint(spiffeid.RequireFromPath(domain, "/hexr/node/n1"), time.Hour, true)
	if err != nil {
		t.Fatal(err)
	}
	certs, key, err := svid.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := b.ca.X509Bundle().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	cfg := b.config()
	cfg.Identity = identity.Config{JWTBundleFile: b.jwks, PollInterval: 50 * time.Millisecond}
	for path, f := range map[*string][]byte{&cfg.Identity.CertFile: certs, &cfg.Identity.KeyFile: key, &cfg.Identity.BundleFile: bundle} {
		file, err := os.CreateTemp(b.dir, "pem")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Write(f); err != nil {
			t.Fatal(err)
		}
		*path = file.Name()
		_ = file.Close()
	}
	cfg.Logger = slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := hexrd.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.server = s
	t.Cleanup(func() { _ = s.Close(t.Context()) })
	return b
}

// trust makes the key the only one of the JWT bundle.
func (b *bearers) trust(kid string, key crypto.PublicKey) {
	b.t.Helper()
	data, err := jwtbundle.FromJWTAuthorities(domain, map[string]crypto.PublicKey{kid: key}).Marshal()
	if err == nil {
		err = os.WriteFile(b.jwks+".new", data, 0o600)
	}
	if err == nil {
		err = os.Rename(b.jwks+".new", b.jwks)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// claimsFor are those of a good token.
func claimsFor(path string) jwt.Claims {
	now := time.Now()
	return jwt.Claims{
		Subject: "spiffe://hexr.cloud" + path, Audience: jwt.Audience{identity.Audience},
		Expiry: jwt.NewNumericDate(now.Add(5 * time.Minute)), IssuedAt: jwt.NewNumericDate(now),
	}
}

// token signs claims for path with the key that the node trusts.
func (b *bearers) token(path string, change func(*jwt.Claims)) string {
	b.t.Helper()
	c := claimsFor(path)
	if change != nil {
		change(&c)
	}
	return b.sign(jose.ES256, b.key, c)
}

func (b *bearers) sign(alg jose.SignatureAlgorithm, key any, c jwt.Claims) string {
	b.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: "k1"}}, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(c).Serialize()
	if err != nil {
		b.t.Fatal(err)
	}
	return token
}

func (b *bearers) call(c *http.Client, token, method, path, body string) (int, string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, "https://"+b.server.Addr()+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if body == "" {
		req.Body = nil
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// TestTokensOverHTTP: a client with nothing but a token does what an agent does,
// once the cluster's setting is on; each wrong token is refused; no log has one.
func TestTokensOverHTTP(t *testing.T) {
	t.Parallel()
	b := newBearers(t)
	operator, web := b.client("/hexr/operator/ann"), b.web(nil)
	const bot = "/agent/acme/bot/main"
	good := b.token(bot, nil)
	if status, answer := b.call(web, good, "GET", "/v1/whoami", ""); status != 401 || !strings.Contains(answer, "JWT_SVID_OFF") {
		t.Fatalf("with the setting off: %d %s", status, answer)
	}
	if _, err := operator.SetSetting(t.Context(), "jwt_svid", "true"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path, body string
		status             int
		piece              string
	}{
		{"PUT", "/v1/secrets/k", `{"value":"v1"}`, 200, `"version":1`},
		{"GET", "/v1/secrets/k", "", 200, `"value":"v1"`},
		{"GET", "/v1/secrets", "", 200, `"paths":["k"]`},
		{"GET", "/v1/whoami", "", 200, `"svid":"jwt"`},
		{"DELETE", "/v1/secrets/k", "", 200, `"version":1`},
		{"GET", "/v1/secrets/k", "", 404, "NOT_FOUND"},
		{"GET", "/v1/audit", "", 200, `"svid":"jwt"`},
		{"GET", "/metrics", "", 403, "WRONG_CLASS"},
		{"GET", "/v1/cluster/members", "", 403, "WRONG_CLASS"},
	} {
		if status, answer := b.call(web, good, c.method, c.path, c.body); status != c.status || !strings.Contains(answer, c.piece) {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, answer)
		}
	}
	own, other := b.web(b.mint(bot)), b.web(b.mint("/agent/acme/other/main"))
	now := time.Now()
	public, err := (&jose.JSONWebKey{Key: b.key.Public()}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	tokens := []string{good}
	for _, c := range []struct {
		name   string
		who    *http.Client
		token  string
		status int
		reason string
	}{
		{"two audiences", web, b.token(bot, func(c *jwt.Claims) { c.Audience = append(c.Audience, "db") }), 401, "BAD_TOKEN"},
		{"another audience", web, b.token(bot, func(c *jwt.Claims) { c.Audience = jwt.Audience{"db"} }), 401, "BAD_TOKEN"},
		{"expired by a second", web, b.token(bot, func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(now.Add(-time.Second)) }), 401, "BAD_TOKEN"},
		{"more than an hour ahead", web, b.token(bot, func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(now.Add(time.Hour + 20*time.Second)) }), 401, "BAD_TOKEN"},
		{"no end", web, b.token(bot, func(c *jwt.Claims) { c.Expiry = nil }), 401, "BAD_TOKEN"},
		{"HMAC with the public key", web, b.sign(jose.HS256, public, claimsFor(bot)), 401, "BAD_TOKEN"},
		{"alg none", web, "eyJhbGciOiJub25lIiwia2lkIjoiazEifQ" + good[strings.Index(good, "."):strings.LastIndex(good, ".")+1], 401, "BAD_TOKEN"},
		{"flipped signature", web, good[:len(good)-8] + strings.ToUpper(good[len(good)-8:]) + "A", 401, "BAD_TOKEN"},
		{"a node's ID", web, b.token("/hexr/node/n1", nil), 401, "JWT_SVID_NOT_FOR_THIS_CLASS"},
		{"an operator's ID", web, b.token("/hexr/operator/ann", nil), 401, "JWT_SVID_NOT_FOR_THIS_CLASS"},
		{"a provisioner's ID", web, b.token("/hexr/provisioner/acme/ci", nil), 401, "JWT_SVID_NOT_FOR_THIS_CLASS"},
		{"an unknown class", web, b.token("/agent/acme", nil), 401, "JWT_SVID_NOT_FOR_THIS_CLASS"},
		{"beside a certificate of another ID", other, good, 401, "TWO_IDENTITIES"},
		{"beside a bad certificate", b.strange(bot), good, 401, "TWO_IDENTITIES"},
		{"a bad one beside a good certificate", own, good + "A", 401, "BAD_TOKEN"},
		{"beside a certificate of the same ID", own, good, 200, `"svid":"x509"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			tokens = append(tokens, c.token)
			status, answer := b.call(c.who, c.token, "GET", "/v1/whoami", "")
			if status != c.status || !strings.Contains(answer, c.reason) {
				t.Fatalf("%d %s", status, answer)
			}
			if strings.Contains(answer, c.token) {
				t.Error("the answer holds the token")
			}
		})
	}
	for _, token := range tokens {
		if strings.Contains(b.log.String(), token) || strings.Contains(b.log.String(), token[strings.LastIndex(token, ".")+1:]) && !strings.HasSuffix(token, ".") {
			t.Error("a token is in the log")
		}
	}
}

// strange is a client with a certificate for path of another CA.
func (b *bearers) strange(path string) *http.Client {
	foreign := newWorld(b.t)
	cfg := foreign.mint(path)
	return b.web(cfg)
}

// TestTokensEnd: a key that leaves the bundle, the setting turned off, a block:
// each ends what a token may, within seconds, on an open stream too.
func TestTokensEnd(t *testing.T) {
	t.Parallel()
	const bot = "/agent/acme/bot/main"
	for _, c := range []struct {
		name string
		end  func(*testing.T, *bearers)
		life time.Duration
	}{
		{"it ends", func(*testing.T, *bearers) {}, 5 * time.Second},
		{"its key leaves the bundle", func(t *testing.T, b *bearers) {
			other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			b.trust("k2", other.Public())
		}, time.Hour},
		{"the setting is turned off", func(t *testing.T, b *bearers) {
			if _, err := b.client("/hexr/operator/ann").SetSetting(t.Context(), "jwt_svid", "false"); err != nil {
				t.Fatal(err)
			}
		}, time.Hour},
		{"a block", func(t *testing.T, b *bearers) {
			if err := b.client("/hexr/operator/ann").Block(t.Context(), "agent/acme/bot"); err != nil {
				t.Fatal(err)
			}
		}, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBearers(t)
			if _, err := b.client("/hexr/operator/ann").SetSetting(t.Context(), "jwt_svid", "true"); err != nil {
				t.Fatal(err)
			}
			until := time.Now().Add(c.life)
			token, web := b.token(bot, func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(until) }), b.web(nil)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+b.server.Addr()+"/v1/audit/tail?from=0", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token)
			web.Timeout = time.Minute
			resp, err := web.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("tail: status %d", resp.StatusCode)
			}
			if status, answer := b.call(web, token, "PUT", "/v1/secrets/k", `{"value":"v"}`); status != 200 {
				t.Fatalf("put: %d %s", status, answer)
			}
			c.end(t, b)
			begin := time.Now()
			if c.life < time.Minute {
				begin = until.Truncate(time.Second)
			}
			if _, err := io.ReadAll(resp.Body); err != nil && !strings.Contains(err.Error(), "EOF") {
				t.Errorf("the stream ended with %v", err)
			}
			t.Logf("the stream ended after %s", time.Since(begin))
			if status, _ := b.call(web, token, "GET", "/v1/secrets/k", ""); status != 401 && status != 403 {
				t.Errorf("get: status %d", status)
			}
		})
	}
}

// TestBadTokensAreCounted: guessing is bounded for its source, and does not lock
// out who is behind the same address with a good token.
func TestBadTokensAreCounted(t *testing.T) {
	t.Parallel()
	b := newBearers(t)
	if _, err := b.client("/hexr/operator/ann").SetSetting(t.Context(), "jwt_svid", "true"); err != nil {
		t.Fatal(err)
	}
	good, web := b.token("/agent/acme/bot/main", nil), b.web(nil)
	web.Transport.(*http.Transport).DisableKeepAlives = false // guesses are counted by address
	defer web.CloseIdleConnections()
	if status, answer := b.call(web, good, "GET", "/v1/whoami", ""); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	for n := 0; ; n++ {
		status, _ := b.call(web, good+"A", "GET", "/v1/whoami", "")
		if status == http.StatusTooManyRequests {
			t.Logf("refused unverified after %d", n)
			break
		}
		if status != 401 || n > 1000 {
			t.Fatalf("guess %d: status %d", n, status)
		}
	}
	if status, answer := b.call(web, good, "GET", "/v1/whoami", ""); status != 200 {
		t.Errorf("the neighbour is locked out: %d %s", status, answer)
	}
}
