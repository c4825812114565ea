package dev

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

var testDomain = spiffeid.RequireTrustDomainFromString("hexr.cloud")

func openCA(t *testing.T, dir string) *CA {
	t.Helper()
	ca, err := OpenCA(dir, testDomain)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestCAKeepsItsKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	first, second := openCA(t, dir), openCA(t, dir)
	if !first.cert.Equal(second.cert) {
		t.Error("the CA is another after it was opened again")
	}
	svid, err := second.Mint(spiffeid.RequireFromPath(testDomain, "/agent/a/b/c"), time.Hour, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := svid.Certificates[0].Verify(x509.VerifyOptions{Roots: first.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	for _, name := range []string{caKey, jwtKey} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if _, err := OpenCA(dir, spiffeid.RequireTrustDomainFromString("other.cloud")); err == nil {
		t.Error("it opens as the CA of another trust domain")
	}
	if _, err := first.Mint(spiffeid.RequireFromString("spiffe://other.cloud/x"), time.Hour, false); err == nil {
		t.Error("it mints for another trust domain")
	}
}

// TestPythonAccepts: the certificates pass Python's strict checks, host name
// included.
func TestPythonAccepts(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	dir := t.TempDir()
	ca := openCA(t, filepath.Join(dir, "ca"))
	bundle := filepath.Join(dir, "ca.pem")
	if err := ca.WriteBundle(bundle); err != nil {
		t.Fatal(err)
	}
	svid, err := ca.Mint(spiffeid.RequireFromPath(testDomain, "/hexr/node/n1"), time.Hour, true)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{
		Certificate: [][]byte{svid.Certificates[0].Raw}, PrivateKey: svid.PrivateKey,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })}
	go func() { _ = server.Serve(l) }()
	defer func() { _ = server.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	script := `
import ssl, sys, urllib.request
ctx = ssl.create_default_context(cafile=sys.argv[1])
ctx.verify_flags |= ssl.VERIFY_X509_STRICT
for host in ("localhost", "127.0.0.1"):
    print(urllib.request.urlopen(f"https://{host}:{sys.argv[2]}/", context=ctx).read().decode())
`
	out, err := exec.CommandContext(t.Context(), python, "-c", script, bundle, port).CombinedOutput()
	if err != nil || string(out) != "hello\nhello\n" {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestWorkloadAPIRenews(t *testing.T) {
	ca := openCA(t, t.TempDir())
	id := spiffeid.RequireFromPath(testDomain, "/agent/a/b/c")
	dir, err := os.MkdirTemp("", "hx")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	api, err := ServeWorkload(t.Context(), filepath.Join(dir, "s"), func(context.Context) (Issued, error) {
		return ca.Issue(id, 2*time.Second, false)
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = api.Close() }()
	if info, err := os.Stat(filepath.Join(dir, "s")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode is %v: %v", info.Mode(), err)
	}
	src, err := workloadapi.NewX509Source(t.Context(), workloadapi.WithClientOptions(workloadapi.WithAddr(api.Address())))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = src.Close() }()
	first, err := src.GetX509SVID()
	if err != nil || first.ID != id {
		t.Fatal(first, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range 2 { // the first update is the first SVID
		if err := src.WaitUntilUpdated(ctx); err != nil {
			t.Fatal(err)
		}
	}
	second, err := src.GetX509SVID()
	if err != nil || second.Certificates[0].Equal(first.Certificates[0]) {
		t.Fatal("it was not renewed", err)
	}
}

func TestParseID(t *testing.T) {
	for s, want := range map[string]string{
		"acme/bot":                          "/agent/acme/bot/main",
		"acme/bot/writer":                   "/agent/acme/bot/writer",
		"/hexr/operator/ann":                "/hexr/operator/ann",
		"spiffe://hexr.cloud/hexr/node/n1":  "/hexr/node/n1",
		"spiffe://other.cloud/hexr/node/n1": "",
		"acme":                              "",
		"a/b/c/d":                           "",
		"":                                  "",
		"/":                                 "",
		"a//b":                              "",
	} {
		id, err := ParseID(testDomain, s)
		if (err == nil) != (want != "") || err == nil && id.Path() != want {
			t.Errorf("%q: %s, %v", s, id, err)
		}
	}
}

func TestSocketNamesAreShort(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("a", 120))
	for _, dir := range []string{t.TempDir(), long} {
		path, err := socketPath(dir, "control.sock")
		if err != nil || len(path) > maxSocketName {
			t.Errorf("%s: %v", path, err)
		}
	}
	path, _ := socketPath(long, "x")
	_ = os.RemoveAll(filepath.Dir(path))
}

func TestRemoveKeepsWhatIsNotOurs(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "thesis.txt")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Remove(dir); err == nil {
		t.Error("it was removed")
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	if err := Remove(filepath.Join(dir, "nothing")); err != nil {
		t.Error(err)
	}
}
