package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
)

// bearer is an HTTP client with nothing but what `hexrd dev exec` sets: a token,
// HEXR_VAULT_URL and HEXR_CA_FILE.
type bearer struct {
	t              *testing.T
	http           *http.Client
	url, ca, token string
}

// devExec is the output of a program that `hexrd dev exec` runs.
func devExec(t *testing.T, dir, id string, command ...string) string {
	t.Helper()
	args := append([]string{"dev", "exec", "--dir", dir, id, "--"}, command...)
	cmd := exec.CommandContext(t.Context(), binary(t), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(command, " "), err, stderr.String())
	}
	return string(out)
}

func newBearer(t *testing.T, dir, id string) *bearer {
	t.Helper()
	out := devExec(t, dir, id, "sh", "-c", `echo "$HEXR_VAULT_URL"; echo "$HEXR_CA_FILE"; exec "$0" jwt`, binary(t))
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 3 || strings.Count(lines[2], ".") != 2 {
		t.Fatalf("not a URL, a file and a token, but %d lines", len(lines))
	}
	b := &bearer{t: t, url: lines[0], ca: lines[1], token: lines[2]}
	pem, err := os.ReadFile(b.ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatalf("%s holds no certificate", b.ca)
	}
	b.http = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	return b
}

// call asks the node of a URL; empty: that of HEXR_VAULT_URL.
func (b *bearer) call(method, node, path, body string) (int, string) {
	b.t.Helper()
	if node == "" {
		node = b.url
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, node+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+b.token)
	resp, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

func (b *bearer) want(method, node, path, body string, status int, piece string) {
	b.t.Helper()
	if got, answer := b.call(method, node, path, body); got != status || !strings.Contains(answer, piece) {
		b.t.Errorf("%s %s: %d %s, not %d with %q", method, path, got, answer, status, piece)
	}
}

// TestJWTSVIDs: an HTTP client with nothing but a token puts, gets, lists and
// deletes through every node of a dev cluster; the token ends with its key; no
// file and no log of the nodes has one.
func TestJWTSVIDs(t *testing.T) {
	t.Parallel()
	c, dir := startCluster(t, "bolt", "--log-level", "debug")
	b := newBearer(t, dir, "acme/bot")
	const path = "/v1/secrets/api-keys/openai"
	b.want("PUT", "", path, `{"value":"sk-1"}`, 200, `"version":1`)
	for _, addr := range c.Addresses() {
		b.want("GET", "https://"+addr, path, "", 200, `"value":"sk-1"`)
		_, port, _ := strings.Cut(addr, ":")
		b.want("GET", "https://localhost:"+port, "/v1/secrets?prefix=api", "", 200, `"paths":["api-keys/openai"]`)
	}
	curl(t, b, path)
	b.want("DELETE", "", path, "", 200, `"version":1`)
	b.want("GET", "", path, "", 404, "NOT_FOUND")

	stranger := newBearer(t, dir, "evil/bot")
	stranger.want("GET", "", path, "", 404, "NOT_FOUND")
	operator := newBearer(t, dir, "/hexr/operator/ann")
	operator.want("GET", "", "/v1/cluster/members", "", 401, "JWT_SVID_NOT_FOR_THIS_CLASS")
	wide := *b
	wide.token = strings.TrimSpace(devExec(t, dir, "acme/bot", binary(t), "jwt", "--audience", "db"))
	wide.want("GET", "", "/v1/whoami", "", 401, "BAD_TOKEN")

	// The audience was turned on once, by an entry; accesses say what they came with.
	auditor := dialAs(t, c, "/hexr/auditor/ben", c.Addresses()...)
	rows := map[string]int{}
	for r, err := range auditor.AuditQuery(t.Context(), &hexrv1.QueryRequest{PageSize: 1000}) {
		if err != nil {
			t.Fatal(err)
		}
		rows[r.GetOperation()+" "+r.GetSvid()]++
	}
	if rows["settings.set x509"] != 1 || rows["put jwt"] != 1 || rows["get jwt"] < 4 || rows["delete jwt"] != 1 {
		t.Errorf("rows: %v", rows)
	}

	// One turn of the key: the token still counts. Two: no more, on any node.
	tokens := []string{b.token, stranger.token, operator.token, wide.token}
	rotate := func() {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), binary(t), "dev", "rotate-jwt", "--dir", dir).CombinedOutput(); err != nil {
			t.Fatalf("rotate: %v: %s", err, out)
		}
		fresh := newBearer(t, dir, "acme/bot")
		tokens = append(tokens, fresh.token)
		for _, addr := range c.Addresses() {
			until(t, "a token of the new key to be taken", func() bool {
				status, _ := fresh.call("GET", "https://"+addr, "/v1/whoami", "")
				return status == http.StatusOK
			})
		}
	}
	rotate()
	for _, addr := range c.Addresses() {
		b.want("GET", "https://"+addr, "/v1/whoami", "", 200, `"svid":"jwt"`)
	}
	rotate()
	for _, addr := range c.Addresses() {
		b.want("GET", "https://"+addr, "/v1/whoami", "", 401, "BAD_TOKEN")
	}
	for _, token := range tokens {
		for part := range strings.SplitSeq(token, ".") {
			if len(part) > 50 { // not the header, which is everybody's
				nowhere(t, filepath.Join(dir, "nodes"), part)
			}
		}
	}
}

// curl does what the documentation shows, where there is one.
func curl(t *testing.T, b *bearer, path string) {
	t.Helper()
	program, err := exec.LookPath("curl")
	if err != nil {
		return
	}
	cmd := exec.CommandContext(t.Context(), program, "--silent", "--show-error", "--config", "-", "--cacert", b.ca, b.url+path)
	cmd.Stdin = strings.NewReader(`header = "Authorization: Bearer ` + b.token + `"`)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), `"value":"sk-1"`) {
		t.Errorf("curl: %v: %s", err, out)
	}
}

// TestJWTWithoutWorkloadAPI: a clear error within seconds.
func TestJWTWithoutWorkloadAPI(t *testing.T) {
	for socket, want := range map[string]struct {
		code int
		text string
	}{
		"":                                     {exitUsage, "SPIFFE_ENDPOINT_SOCKET"},
		"unix://" + t.TempDir() + "/none.sock": {exitUnauthenticated, "is its agent running"},
	} {
		t.Setenv(client.SocketEnv, "")
		var out, errs bytes.Buffer
		args := []string{"jwt"}
		if socket != "" {
			args = append(args, "--socket", socket)
		}
		if code := run(context.Background(), args, nil, &out, &errs); code != want.code || !strings.Contains(errs.String(), want.text) || out.Len() > 0 {
			t.Errorf("%q: exit code %d: %s%s", socket, code, out.String(), errs.String())
		}
	}
}
