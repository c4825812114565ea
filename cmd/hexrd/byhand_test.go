package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/internal/dev"
)

var byHandDomain = spiffeid.RequireTrustDomainFromString("hexr.cloud")

// byHand is a cluster whose processes have their identities from files, which the
// test renews or lets end as it likes.
type byHand struct {
	t     *testing.T
	dir   string
	cas   []*dev.CA // whom clients trust; the first signs their SVIDs
	nodes []*handNode
}

type handNode struct {
	id, addr, dir string
	cmd           *exec.Cmd
	exited        chan struct{}
}

func openCA(t *testing.T) *dev.CA {
	t.Helper()
	ca, err := dev.OpenCA(t.TempDir(), byHandDomain)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// newByHand starts n1, n2, n3, each with the SVID that svid writes into its
// directory.
func newByHand(t *testing.T, cas []*dev.CA, svid func(n *handNode)) *byHand {
	t.Helper()
	b := &byHand{t: t, dir: t.TempDir(), cas: cas}
	for _, id := range []string{"n1", "n2", "n3"} {
		n := &handNode{id: id, addr: freeAddress(t), dir: filepath.Join(b.dir, id)}
		if err := os.Mkdir(n.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		b.nodes = append(b.nodes, n)
		svid(n)
		args := []string{"start", "--bootstrap"}
		if id != "n1" {
			token, err := b.client("/hexr/operator/ann", b.nodes[0].addr).CreateToken(t.Context(), id, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(n.dir, "token")
			if err := os.WriteFile(file, []byte(token.GetToken()), 0o600); err != nil {
				t.Fatal(err)
			}
			args = []string{"join", "--token-file", file, b.nodes[0].addr}
		}
		b.start(n, args...)
	}
	until(t, "three voters", func() bool {
		resp, err := b.client("/hexr/operator/ann", b.nodes[0].addr).Members(t.Context())
		return err == nil && resp.GetVoters() == 3
	})
	return b
}

// ports of all nodes: tests run at the same time, and must not get those of nodes that
// are down.
var ports = dev.NewPorts()

func freeAddress(t *testing.T) string {
	t.Helper()
	addr, err := ports.Free(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// start runs the node's program, and ends it with the test.
func (b *byHand) start(n *handNode, args ...string) {
	b.t.Helper()
	n.cmd, n.exited = exec.Command(binary(b.t), append(args,
		"--cert", filepath.Join(n.dir, "cert.pem"), "--key", filepath.Join(n.dir, "key.pem"), "--bundle", filepath.Join(n.dir, "bundle.pem"),
		"--data-dir", filepath.Join(n.dir, "data"), "--wrapper-key", filepath.Join(n.dir, "wrapper.key"), "--bind", n.addr,
		"--admin-socket", filepath.Join(n.dir, "admin.sock"))...), make(chan struct{})
	out := &bytes.Buffer{}
	n.cmd.Stdout, n.cmd.Stderr = out, out
	if err := n.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	cmd, exited := n.cmd, n.exited
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	b.t.Cleanup(func() {
		b.stop(cmd, exited)
		if b.t.Failed() {
			b.t.Logf("%s:\n%s", n.id, out.Bytes()[max(0, out.Len()-4000):])
		}
	})
	until(b.t, n.id+" to run", func() bool {
		select {
		case <-exited:
			b.t.Fatalf("%s ended: %s", n.id, out)
		default:
		}
		status, _ := b.health(n)
		return status == http.StatusOK
	})
}

func (b *byHand) stop(cmd *exec.Cmd, exited chan struct{}) {
	_ = cmd.Process.Signal(syscall.SIGCONT)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-exited:
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		<-exited
	}
}

// health is the node's own word. Who it is is not looked at: its certificate may
// have ended.
func (b *byHand) health(n *handNode) (int, string) {
	web := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true},
	}}
	resp, err := web.Get("https://" + n.addr + "/health")
	if err != nil {
		return 0, ""
	}
	defer func() { _ = resp.Body.Close() }()
	var text strings.Builder
	_ = resp.Write(&text)
	return resp.StatusCode, text.String()
}

// writeSVID puts an SVID of a CA into a directory, and says when it ends.
func writeSVID(t *testing.T, dir string, ca *dev.CA, path string, ttl time.Duration) time.Time {
	t.Helper()
	svid, err := ca.Mint(spiffeid.RequireFromPath(byHandDomain, path), ttl, true)
	if err != nil {
		t.Fatal(err)
	}
	certs, key, err := svid.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	replace(t, filepath.Join(dir, "key.pem"), key)
	replace(t, filepath.Join(dir, "cert.pem"), certs)
	return svid.Certificates[0].NotAfter
}

// writeBundle makes the CAs the bundle of a directory.
func writeBundle(t *testing.T, dir string, cas ...*dev.CA) {
	t.Helper()
	bundle := x509bundle.New(byHandDomain)
	for _, ca := range cas {
		for _, a := range ca.X509Bundle().X509Authorities() {
			bundle.AddX509Authority(a)
		}
	}
	data, err := bundle.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	replace(t, filepath.Join(dir, "bundle.pem"), data)
}

func replace(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// client is one at these nodes.
func (b *byHand) client(path string, addrs ...string) *client.Client {
	b.t.Helper()
	dir := b.t.TempDir()
	writeSVID(b.t, dir, b.cas[0], path, time.Hour)
	writeBundle(b.t, dir, b.cas...)
	c, err := client.Dial(b.t.Context(), client.Config{
		Addrs: addrs, Timeout: 40 * time.Second, Retries: 200,
		CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"), BundleFile: filepath.Join(dir, "bundle.pem"),
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	return c
}

// conn is a gRPC connection to one node without any retries, and when its SVID ends.
func (b *byHand) conn(path string, ttl time.Duration, addr string) (*grpc.ClientConn, time.Time) {
	b.t.Helper()
	svid, err := b.cas[0].Mint(spiffeid.RequireFromPath(byHandDomain, path), ttl, false)
	if err != nil {
		b.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	for _, ca := range b.cas {
		roots.AddCert(ca.X509Bundle().X509Authorities()[0])
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, Certificates: []tls.Certificate{{
		Certificate: [][]byte{svid.Certificates[0].Raw}, PrivateKey: svid.PrivateKey,
	}}}
	c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(cfg)), grpc.WithDisableRetry())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	return c, svid.Certificates[0].NotAfter
}
