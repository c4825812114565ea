package hexrd_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/hexrdev/hexrd"
	"github.com/hexrdev/hexrd/client"
)

// row is a class of known vulnerability: what is tried, and what answers.
// docs/attacks.md is the same table.
type row struct {
	name, tried, answers string
	run                  func(*attack)
}

// section is rows that are tried one after the other, on a node of their own.
type section struct {
	name string
	rows []row
}

// attacks are all rows.
func attacks() []section {
	return []section{
		{"tls", tlsAttacks}, {"identity", identityAttacks}, {"http", httpAttacks}, {"http2", http2Attacks},
		{"names", nameAttacks}, {"tenants", tenantAttacks}, {"members", memberAttacks}, {"surface", surfaceAttacks},
	}
}

// Canaries that stand in no answer to anybody else, in no error and in no log.
const (
	victim      = "/agent/acme/bot/main"
	thief       = "/agent/acme-corp/bot/main"
	canaryPath  = "canary-path/openai"
	canaryValue = "canary-value-7f3a"
)

// attack is one row's run against a node that holds the victim's secret.
type attack struct {
	*world
	t     *testing.T
	admin string

	mu    *sync.Mutex
	seen  map[string]bool // every error text that was answered
	certs map[string]tls.Certificate
}

func TestAttacks(t *testing.T) {
	t.Parallel()
	for _, s := range attacks() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.run(t)
		})
	}
}

func (s section) run(t *testing.T) {
	w, log := newWorld(t), &lines{}
	cfg := w.config()
	cfg.AdminSocket = filepath.Join(w.dir, "a.sock")
	cfg.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	server, err := hexrd.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.server = server
	t.Cleanup(func() { _ = server.Close(context.WithoutCancel(t.Context())) })
	if _, err := w.client(victim).Put(t.Context(), canaryPath, []byte(canaryValue), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen, certs := map[string]bool{}, map[string]tls.Certificate{}
	for _, r := range s.rows {
		t.Run(r.name, func(t *testing.T) {
			own := *w
			own.t = t
			a := &attack{world: &own, t: t, admin: cfg.AdminSocket, mu: &mu, seen: seen, certs: certs}
			r.run(a)
			a.unharmed()
		})
	}
	for text := range seen {
		quiet(t, "an error", text)
	}
	quiet(t, "the log", log.String())
}

// unharmed: whatever was tried, the victim gets its secret as it was.
func (a *attack) unharmed() {
	a.t.Helper()
	if got := a.ask(victim, "GET", "/v1/secrets/"+canaryPath, ""); got.status != 200 || !strings.Contains(got.body, canaryValue) || !strings.Contains(got.body, `"version":1}`) {
		a.t.Errorf("the victim gets %s", got)
	}
}

// quiet: a text tells neither secrets nor identities, nor how the node is made.
func quiet(t *testing.T, what, text string) {
	t.Helper()
	for _, s := range []string{canaryValue, canaryPath, "/agent/acme", "hexr/operator/ann", "goroutine ", "pebble", "panic", ".go:"} {
		if i := strings.Index(text, s); i >= 0 {
			t.Errorf("%s tells %q: %.200q", what, s, text[max(0, i-80):])
		}
	}
}

// TestAttackTable: docs/attacks.md has the rows that run, and no others.
func TestAttackTable(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("docs/attacks.md")
	if err != nil {
		t.Fatal(err)
	}
	want, names := "", map[string]bool{}
	for _, s := range attacks() {
		for _, r := range s.rows {
			if names[r.name] {
				t.Errorf("two rows are named %s", r.name)
			}
			names[r.name] = true
			want += fmt.Sprintf("| `%s` | %s | %s |\n", r.name, r.tried, r.answers)
		}
	}
	_, table, _ := strings.Cut(string(data), "|---|---|---|\n")
	if got, _, _ := strings.Cut(table, "\n\n"); strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("docs/attacks.md is not the suite's table, which is:\n%s", want)
	}
}

// reply is an answer over HTTP.
type reply struct {
	status int
	header http.Header
	body   string
}

func (r reply) String() string { return fmt.Sprintf("%d %.200s", r.status, r.body) }

// as is the certificate of a path; empty: none.
func (a *attack) as(path string) []tls.Certificate {
	a.t.Helper()
	if path == "" {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.certs[path]; !ok {
		svid, err := a.ca.Mint(spiffeid.RequireFromPath(domain, path), time.Hour, false)
		if err != nil {
			a.t.Fatal(err)
		}
		a.certs[path] = certificate(svid)
	}
	return []tls.Certificate{a.certs[path]}
}

// config is a TLS client's that presents these certificates whatever is asked for.
func (a *attack) config(certs []tls.Certificate, alpn ...string) *tls.Config {
	cfg := &tls.Config{RootCAs: a.ca.Pool(), MinVersion: tls.VersionTLS13, NextProtos: alpn}
	if len(certs) > 0 {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certs[0], nil }
	}
	return cfg
}

func (a *attack) dial(cfg *tls.Config) (*tls.Conn, error) {
	conn, err := elsewhere(cfg)(a.t.Context(), "tcp", a.server.Addr())
	if err != nil {
		return nil, err
	}
	a.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn.(*tls.Conn), nil
}

// ask sends one request with its path as it stands.
func (a *attack) ask(as, method, path, body string, headers ...string) reply {
	a.t.Helper()
	text := method + " " + path + " HTTP/1.1\r\nHost: hexrd\r\nConnection: close\r\n"
	for _, h := range headers {
		text += h + "\r\n"
	}
	if body != "" {
		text += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return a.send(a.as(as), text+"\r\n"+body)
}

// send writes bytes, and reads the first answer.
func (a *attack) send(certs []tls.Certificate, text string) reply {
	a.t.Helper()
	conn, err := a.dial(a.config(certs))
	if err != nil {
		a.t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(conn, text) }() // an early answer may come before all is read
	return a.next(bufio.NewReader(conn))
}

// next reads an answer; status 0: the connection was closed without one.
func (a *attack) next(r *bufio.Reader) reply {
	a.t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return reply{}
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode >= 400 {
		a.note(string(body))
	}
	return reply{resp.StatusCode, resp.Header, string(body)}
}

func (a *attack) note(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen[text] = true
}

// grpc is a connection that speaks gRPC.
func (a *attack) grpc(certs []tls.Certificate, opts ...grpc.DialOption) *grpc.ClientConn {
	a.t.Helper()
	conn, err := grpc.NewClient(a.server.Addr(), append(opts, grpc.WithTransportCredentials(credentials.NewTLS(a.config(certs))))...)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// want fails the row when an answer has not that status, or not that piece.
func (a *attack) want(what string, got reply, status int, piece string) {
	a.t.Helper()
	if got.status != status || !strings.Contains(got.body, piece) {
		a.t.Errorf("%s: %s; want %d with %q", what, got, status, piece)
	}
	if got.header.Get("Location") != "" {
		a.t.Errorf("%s: it redirects to %s", what, got.header.Get("Location"))
	}
}
