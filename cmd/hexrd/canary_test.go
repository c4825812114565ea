package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/internal/dev"
)

// nowhere finds a text in no file under dir.
func nowhere(t *testing.T, dir, text string) {
	t.Helper()
	eachFile(t, dir, func(path string, data []byte) {
		if bytes.Contains(data, []byte(text)) {
			t.Errorf("%.20q stands in clear in %s", text, strings.TrimPrefix(path, dir))
		}
	})
}

// eachFile reads what lies under a directory, but what a running node removes
// meanwhile.
func eachFile(t *testing.T, dir string, look func(path string, data []byte)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != dir {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		look(path, data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// canaryRun is a cluster that is called with canaries in all fields.
type canaryRun struct {
	t    *testing.T
	c    *dev.Cluster
	dir  string
	pki  *pki
	n    int
	seen int // searched files and answers
}

// name makes a canary for one field.
func (r *canaryRun) name() string {
	r.n++
	return fmt.Sprintf("%s%d", canary, r.n)
}

// search finds the canary in none of its forms.
func (r *canaryRun) search(where string, data []byte) {
	r.t.Helper()
	r.seen++
	if form, around := found(data); form != "" {
		r.t.Errorf("%s holds a canary (%s): %s", where, form, around)
	}
}

// TestCanaries makes every part of a request, a handshake, a token, a
// certificate and a setting a canary, lets them succeed and fail, kills nodes
// in the middle of it, and searches everything that the nodes leave or show.
func TestCanaries(t *testing.T) {
	t.Parallel()
	c, dir := startCluster(t, "wal", "--log-level", "debug")
	r := &canaryRun{t: t, c: c, dir: dir, pki: openPKI(t, filepath.Join(dir, "ca"))}
	tail := r.inFlight()
	for name, attack := range map[string]func(addr string){
		"http": r.overHTTP, "raw": r.overTLS, "grpc": r.overGRPC, "certificates": r.withCertificates, "tokens": r.withTokens,
		"governing": r.governing, "joining": r.joining,
	} {
		for _, addr := range c.Addresses() {
			t.Run(name, func(t *testing.T) { r.t = t; attack(addr) })
		}
	}
	r.t = t
	r.searchLive()
	tail()
	for id, sig := range map[string]string{"n1": "ABRT", "n2": "QUIT"} {
		if _, err := c.Signal(t.Context(), id, sig); err != nil {
			t.Fatal(err)
		}
		log, err := os.ReadFile(filepath.Join(dir, "nodes", id, "node.log"))
		if err != nil || !bytes.Contains(log, []byte("goroutine profile: total")) || arguments.Match(log) {
			t.Errorf("%s left no stacks, or arguments with them: %v", id, err)
		}
	}
	eachFile(t, filepath.Join(dir, "nodes"), func(path string, data []byte) {
		r.search(strings.TrimPrefix(path, dir), data)
		if strings.Contains(filepath.Base(path), "core") {
			t.Errorf("a core file: %s", path)
		}
	})
	t.Logf("%d canaries, %d files and answers searched", r.n, r.seen)
	if r.seen < 50 {
		t.Error("too little was searched")
	}
}

// inFlight keeps calls open whose goroutines hold canaries.
func (r *canaryRun) inFlight() (end func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	for _, addr := range r.c.Addresses() {
		conn := r.grpcAs("/hexr/auditor/"+canary, addr)
		stream, err := hexrv1.NewAuditClient(conn).Tail(metadata.AppendToOutgoingContext(ctx, "x-"+canary, canary),
			&hexrv1.TailRequest{Caller: "spiffe://hexr.cloud/agent/" + canary + "/bot/main"})
		if err != nil {
			r.t.Fatal(err)
		}
		go func() { _, _ = stream.Recv() }()
	}
	return cancel
}

// searchLive looks at what running nodes show.
func (r *canaryRun) searchLive() {
	auditor := r.httpAs("/hexr/auditor/ben")
	for _, n := range r.c.Nodes(r.t.Context()) {
		for _, file := range []string{"environ", "cmdline", "status"} {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", n.PID, file))
			if err != nil && os.Getuid() == 0 {
				r.t.Error(err)
			}
			r.search(n.ID+" "+file, data)
		}
		admin := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(r.dir, n.ID+"-admin.sock"))
		}}}
		for _, path := range []string{"metrics", "debug/pprof/", "debug/pprof/goroutine?debug=2", "debug/pprof/goroutine?debug=1",
			"debug/pprof/heap?debug=1", "debug/pprof/allocs?debug=1", "debug/pprof/block?debug=1", "debug/pprof/mutex?debug=1",
			"debug/pprof/trace?seconds=0.1", "debug/pprof/cmdline"} {
			r.fetch(admin, "http://node/"+path, n.ID)
		}
		r.fetch(auditor, "https://"+n.Address+"/metrics", n.ID)
	}
}

func (r *canaryRun) fetch(c *http.Client, url, node string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK && !strings.HasSuffix(url, "cmdline") {
		r.t.Errorf("%s: %d, %v", url, resp.StatusCode, err)
	}
	r.search(node+" "+url, data)
}

func (r *canaryRun) httpAs(path string) *http.Client {
	cfg := &tls.Config{RootCAs: r.pki.pool, Certificates: []tls.Certificate{r.pki.leaf(path, nil)}}
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: cfg}}
}

// grpcAs is a connection with bytes in place of messages.
func (r *canaryRun) grpcAs(path, addr string) *grpc.ClientConn {
	cfg := &tls.Config{RootCAs: r.pki.pool, Certificates: []tls.Certificate{r.pki.leaf(path, nil)}}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(cfg)), grpc.WithUserAgent(r.name()))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// agentPath is an identity that is a canary in all its parts.
func (r *canaryRun) agentPath() string { return "/agent/" + r.name() + "/" + r.name() + "/" + r.name() }

// overHTTP has canaries in methods, hosts, paths, queries, headers and bodies.
func (r *canaryRun) overHTTP(addr string) {
	agent, operator := r.httpAs(r.agentPath()), r.httpAs("/hexr/operator/"+r.name())
	call := func(c *http.Client, method, path, body string) int {
		req, err := http.NewRequestWithContext(r.t.Context(), method, "https://"+addr+path, strings.NewReader(body))
		if err != nil {
			r.t.Fatal(err)
		}
		req.Host = r.name() + ".example"
		for _, h := range []string{
			"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Client-Cert", "X-Real-Ip", "Forwarded", "Via", "Traceparent", "Tracestate", "Baggage", "B3",
			"X-Hexr-Agent-Id", "X-Hexr-Tenant", "X-Hexr-Process", "X-Request-Id", "Idempotency-Key", "User-Agent", "Referer", "Cookie", "Origin",
			"Accept", "Content-Type", "Content-Encoding", "Range", "If-Match", "X-Http-Method-Override", "X-" + r.name(),
		} {
			req.Header.Set(h, r.name())
		}
		resp, err := c.Do(req)
		if err != nil {
			r.t.Fatalf("%s %s: %v", method, path, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	secret := "/v1/secrets/" + r.name() + "/" + r.name()
	for _, s := range []struct {
		who                *http.Client
		method, path, body string
		status             int
	}{
		{agent, "PUT", secret, `{"value":"` + r.name() + `","metadata":{"` + r.name() + `":"` + r.name() + `"}}`, 200},
		{agent, "GET", secret, "", 200},
		{agent, "GET", secret + ":describe", "", 200},
		{agent, "GET", secret + ":" + r.name(), "", 400},
		{agent, "GET", secret + "?scope=" + r.name(), "", 403},
		{agent, "GET", secret + "?scope=spiffe://hexr.cloud/agent/" + r.name() + "/x/*", "", 403},
		{agent, "GET", secret + "?" + r.name() + "=" + r.name(), "", 400},
		{agent, "GET", secret + "?version=" + r.name(), "", 400},
		{agent, "GET", "/v1/secrets?page_token=" + r.name(), "", 400},
		{agent, "GET", "/v1/secrets?prefix=" + canary, "", 200},
		{agent, "GET", "/v1/secrets/" + r.name(), "", 404},
		{agent, "GET", "/v1/secrets//" + r.name(), "", 400},
		{agent, "GET", "/" + r.name(), "", 404},
		{agent, strings.ToUpper(r.name()), secret, "", 405},
		{agent, "PUT", secret, `{"value":` + r.name() + `}`, 400},
		{agent, "PUT", secret, `{"` + r.name() + `":"` + r.name() + `"}`, 400},
		{agent, "PUT", secret, r.name() + strings.Repeat("x", 3<<20), 413},
		{agent, "POST", "/v1/secrets:batchGet", `{"paths":["` + r.name() + `","//` + r.name() + `"]}`, 200},
		{agent, "GET", "/metrics", "", 403},
		{agent, "GET", "/v1/audit?caller=spiffe://hexr.cloud/agent/" + r.name() + "/x/main", "", 403},
		{agent, "GET", "/v1/audit?cursor=" + r.name(), "", 400},
		{agent, "DELETE", secret, "", 200},
		{operator, "GET", secret, "", 403},
		{operator, "PUT", "/v1/cluster/settings/" + r.name(), `{"value":"` + r.name() + `"}`, 400},
		{operator, "POST", "/v1/cluster/tokens", `{"node_id":"n7","ttl":"` + r.name() + `"}`, 400},
		{operator, "DELETE", "/v1/cluster/tokens/" + r.name(), "", 400},
		{operator, "DELETE", "/v1/cluster/members/" + r.name(), "", 404},
		{operator, "POST", "/v1/cluster/blocks", `{"subject":"agent/` + r.name() + `"}`, 200},
	} {
		if status := call(s.who, s.method, s.path, s.body); status != s.status {
			r.t.Errorf("%s %s: %d, not %d", s.method, s.path, status, s.status)
		}
	}
}

// overTLS has canaries in hellos, and in what is no protocol at all.
func (r *canaryRun) overTLS(addr string) {
	cert := r.pki.leaf(r.agentPath(), nil)
	for _, alpn := range [][]string{{"h2"}, {"http/1.1"}, {"hexr-raft"}, {r.name()}, {r.name(), "h2"}, nil} {
		for _, text := range []string{
			r.name() + "\r\n\r\n", "GET /" + r.name() + " HTTP/9.9\r\n\r\n", "GET / HTTP/1.1\r\n" + r.name() + "\r\n\r\n",
			"GET /" + r.name() + " HTTP/1.1\r\nHost: " + r.name() + "\r\nHost: " + r.name() + "\r\n\r\n",
			"PUT /v1/secrets/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + r.name() + "\r\n",
			"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat(r.name(), 8000) + "\r\n\r\n",
			"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + r.name() + strings.Repeat(r.name(), 100),
		} {
			conn, err := tls.Dial("tcp", addr, &tls.Config{
				RootCAs: r.pki.pool, Certificates: []tls.Certificate{cert}, NextProtos: alpn, ServerName: r.name() + ".example", InsecureSkipVerify: true,
			})
			if err != nil {
				continue // refused in the handshake: that is an answer, too
			}
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			_, _ = conn.Write([]byte(text))
			_ = conn.CloseWrite()
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	}
	for _, text := range []string{r.name(), "\x16\x03\x01\x00\x80" + r.name(), "GET /" + r.name() + " HTTP/1.1\r\n\r\n"} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			r.t.Fatal(err)
		}
		_, _ = conn.Write([]byte(text))
		_ = conn.Close()
	}
}

// overGRPC has canaries in methods, metadata and messages, well formed and not.
func (r *canaryRun) overGRPC(addr string) {
	conn := r.grpcAs(r.agentPath(), addr)
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	for _, key := range []string{"authorization", "x-forwarded-for", "forwarded", "via", "traceparent", "grpc-trace-bin", "x-hexr-agent-id", r.name(), r.name() + "-bin"} {
		ctx = metadata.AppendToOutgoingContext(ctx, key, r.name())
	}
	vault := hexrv1.NewVaultClient(conn)
	if _, err := vault.Put(ctx, &hexrv1.PutRequest{Path: r.name(), Value: []byte(r.name()), RequestId: []byte(canary + "1234567")}); err != nil {
		r.t.Error(err)
	}
	_, err1 := vault.Put(ctx, &hexrv1.PutRequest{Path: r.name(), Value: []byte(r.name()), RequestId: []byte(r.name())})
	_, err2 := vault.Get(ctx, &hexrv1.GetRequest{Path: r.name(), Scope: r.name() + "/" + r.name()})
	_, err3 := vault.List(ctx, &hexrv1.ListRequest{Prefix: r.name(), PageToken: r.name()})
	_, err4 := hexrv1.NewClusterClient(conn).Block(ctx, &hexrv1.BlockRequest{Subject: r.name()})
	for i, err := range []error{err1, err2, err3, err4} {
		if err == nil {
			r.t.Errorf("call %d was not refused", i)
		}
	}
	for _, method := range []string{"/" + r.name() + ".Vault/Get", "/hexr.v1.Vault/" + r.name(), "/hexr.v1.Vault/Get", "/hexr.cluster.v1.Peer/Join", r.name(), "/" + r.name()} {
		var answer []byte
		if err := conn.Invoke(ctx, method, []byte(r.name()+"\xff"+r.name()), &answer, grpc.ForceCodec(rawBytes{})); err == nil {
			r.t.Errorf("%s was not refused", method)
		}
	}
}

// rawBytes sends bytes as a message.
type rawBytes struct{}

func (rawBytes) Name() string                  { return "proto" }
func (rawBytes) Marshal(v any) ([]byte, error) { return v.([]byte), nil }
func (rawBytes) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = data
	return nil
}

// governing has canaries in what operators and provisioners do.
func (r *canaryRun) governing(addr string) {
	ctx := r.t.Context()
	op, prov := dialAs(r.t, r.c, "/hexr/operator/"+r.name(), addr), dialAs(r.t, r.c, "/hexr/provisioner/"+canary+"/"+r.name(), addr)
	scope := "spiffe://hexr.cloud/agent/" + canary + "/*"
	if _, err := prov.Put(ctx, r.name(), []byte(r.name()), client.PutOptions{Scope: scope}); err != nil {
		r.t.Error(err)
	}
	if _, err := prov.Put(ctx, r.name(), []byte(r.name()), client.PutOptions{Scope: "spiffe://hexr.cloud/agent/" + r.name() + "/*"}); err == nil {
		r.t.Error("another tenant's scope")
	}
	if err := op.Block(ctx, "spiffe://hexr.cloud/agent/"+r.name()+"/bot/main"); err != nil {
		r.t.Error(err)
	}
	if err := op.Block(ctx, r.name()+" "+r.name()); err == nil {
		r.t.Error("a subject that is none was blocked")
	}
	if _, err := op.SetSetting(ctx, "rate_burst", r.name()); err == nil {
		r.t.Error("a setting that is none was set")
	}
	if _, err := op.CreateToken(ctx, strings.ToUpper(r.name())+"!", time.Hour); err == nil {
		r.t.Error("a token for a node ID that is none")
	}
}

// joining has canaries in join tokens, and in the trust domain's other nodes.
func (r *canaryRun) joining(addr string) {
	w, err := r.c.Serve(r.t.Context(), "/hexr/node/"+r.name())
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	dir := r.t.TempDir()
	for _, token := range []string{r.name(), "hexr-join-" + r.name()} {
		file := filepath.Join(dir, "token")
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			r.t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
		cmd, out := node(r.t, ctx, w, "join", "--token-file", file, "--data-dir", filepath.Join(dir, "d"), "--log-level", "debug",
			"--wrapper-key", filepath.Join(dir, "k"), "--bind", "127.0.0.1:0", "--advertise", "127.0.0.1:9", addr)
		var exit *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &exit) || ctx.Err() != nil {
			r.t.Errorf("it was not refused: %v", err)
		}
		cancel()
		r.search("the joining node's log", out.Bytes())
	}
}
