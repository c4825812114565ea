package hexrd_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"

	"github.com/hexrdev/hexrd"
	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/client"
	"github.com/hexrdev/hexrd/identity"
)

const (
	// endsWithin is what "within seconds" means here, on a busy machine.
	endsWithin = 15 * time.Second
	endsBot    = "/agent/acme/bot/main"
)

// domains is a world whose node trusts two CAs, and has its identity from files.
type domains struct {
	*world
	second *world
	bundle string
}

func newDomains(t *testing.T) *domains {
	t.Helper()
	d := &domains{world: newWorld(t), second: newWorld(t)}
	svid, err := d.ca.Mint(spiffeid.RequireFromPath(domain, "/hexr/node/n1"), time.Hour, true)
	if err != nil {
		t.Fatal(err)
	}
	certs, key, err := svid.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	cfg := d.config()
	d.bundle = filepath.Join(d.dir, "bundle.pem")
	cfg.Identity = identity.Config{
		CertFile: filepath.Join(d.dir, "cert.pem"), KeyFile: filepath.Join(d.dir, "key.pem"), BundleFile: d.bundle,
	}
	for path, data := range map[string][]byte{cfg.Identity.CertFile: certs, cfg.Identity.KeyFile: key} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.trust(d.world, d.second)
	s, err := hexrd.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	d.server = s
	t.Cleanup(func() { _ = s.Close(context.WithoutCancel(t.Context())) })
	return d
}

// trust makes the CAs of these worlds the node's bundle.
func (d *domains) trust(worlds ...*world) {
	d.t.Helper()
	bundle := x509bundle.New(domain)
	for _, w := range worlds {
		for _, a := range w.ca.X509Bundle().X509Authorities() {
			bundle.AddX509Authority(a)
		}
	}
	data, err := bundle.Marshal()
	if err == nil {
		err = os.WriteFile(d.bundle+".new", data, 0o600)
	}
	if err == nil {
		err = os.Rename(d.bundle+".new", d.bundle)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// holder is a client with one SVID.
type holder struct {
	d   *domains
	cfg *tls.Config
}

func (d *domains) holder(svid *x509svid.SVID) *holder {
	return &holder{d, &tls.Config{RootCAs: d.ca.Pool(), MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate(svid)}}}
}

func (h *holder) grpc(t *testing.T) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(h.d.server.Addr(), grpc.WithTransportCredentials(credentials.NewTLS(h.cfg)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// raw opens a connection, sends a request, or a part of one, and returns what reads
// from it.
func (h *holder) raw(t *testing.T, request string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := elsewhere(h.cfg)(t.Context(), "tcp", h.d.server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

func answered(t *testing.T, r *bufio.Reader) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d", resp.StatusCode)
	}
	return resp
}

func answeredWhole(t *testing.T, r *bufio.Reader) {
	t.Helper()
	resp := answered(t, r)
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
}

// links are the ways in which a caller is connected. open returns once it is, and
// gives what waits until it is no more, or says what was answered in place of that.
// A new stream is a line here.
var links = []struct {
	name string
	open func(*testing.T, *holder) (ended func() error)
}{
	{"idle HTTP connection", func(t *testing.T, h *holder) func() error {
		_, r := h.raw(t, whoami)
		answeredWhole(t, r)
		return func() error { return closed(r) }
	}},
	{"HTTP request whose body is slow", func(t *testing.T, h *holder) func() error {
		_, r := h.raw(t, "PUT /v1/secrets/slow HTTP/1.1\r\nHost: hexrd\r\nContent-Length: 99\r\n\r\n{\"value\":\"")
		return func() error { return closed(r) }
	}},
	{"HTTP tail", func(t *testing.T, h *holder) func() error { return h.stream(t, "/v1/audit/tail?from=0") }},
	{"HTTP watch", func(t *testing.T, h *holder) func() error { return h.stream(t, "/v1/watch") }},
	{"idle gRPC connection", func(t *testing.T, h *holder) func() error {
		conn := h.grpc(t)
		if _, err := hexrv1.NewVaultClient(conn).WhoAmI(t.Context(), &hexrv1.WhoAmIRequest{}); err != nil {
			t.Fatal(err)
		}
		return func() error {
			if !conn.WaitForStateChange(t.Context(), connectivity.Ready) {
				return errors.New("still connected")
			}
			return nil
		}
	}},
	{"gRPC call whose message is slow", func(t *testing.T, h *holder) func() error {
		stream, err := h.grpc(t).NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, hexrv1.Vault_Get_FullMethodName)
		if err != nil {
			t.Fatal(err)
		}
		return func() error { return refusedStream(stream.RecvMsg(&hexrv1.GetResponse{})) }
	}},
	{"gRPC tail", func(t *testing.T, h *holder) func() error {
		from := uint64(0)
		stream, err := hexrv1.NewAuditClient(h.grpc(t)).Tail(t.Context(), &hexrv1.TailRequest{From: &from})
		return received(t, stream, err)
	}},
	{"gRPC watch", func(t *testing.T, h *holder) func() error {
		stream, err := hexrv1.NewVaultClient(h.grpc(t)).Watch(t.Context(), &hexrv1.WatchRequest{})
		return received(t, stream, err)
	}},
}

// stream opens a stream over HTTP, and waits for its end.
func (h *holder) stream(t *testing.T, path string) func() error {
	_, r := h.raw(t, "GET "+path+" HTTP/1.1\r\nHost: hexrd\r\n\r\n")
	resp := answered(t, r) //nolint:bodyclose // what is returned closes it
	return func() error {
		defer func() { _ = resp.Body.Close() }()
		if _, err := io.Copy(io.Discard, resp.Body); errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		return nil
	}
}

// received waits for a stream's first event, and then for its end.
func received[M any](t *testing.T, stream grpc.ServerStreamingClient[M], err error) func() error {
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() error {
		for {
			if _, err := stream.Recv(); err != nil {
				return refusedStream(err)
			}
		}
	}
}

// closed waits until the other side closes a connection without a word.
func closed(r io.Reader) error {
	text, err := io.ReadAll(r)
	if len(text) > 0 {
		return fmt.Errorf("it was answered: %.80s", text)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}

func refusedStream(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return errors.New("it was answered, or ended in good order")
	}
	return nil
}

// TestConnectionsEnd: when a caller is admitted no more, everything that it has
// open ends within seconds, and nothing new is answered.
func TestConnectionsEnd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		ttl  time.Duration
		end  func(*testing.T, *domains, *client.Client) // nil: the SVID's own
		back func(*testing.T, *domains, *client.Client) // lets the same SVID in again
	}{
		{name: "the SVID ends", ttl: 5 * time.Second},
		{name: "its CA leaves the bundle", ttl: time.Hour, end: func(_ *testing.T, d *domains, _ *client.Client) { d.trust(d.world) },
			back: func(_ *testing.T, d *domains, _ *client.Client) { d.trust(d.world, d.second) }},
		{"block of the ID", time.Hour, block("spiffe://hexr.cloud" + endsBot), unblock("spiffe://hexr.cloud" + endsBot)},
		{"block of the agent", time.Hour, block("agent/acme/bot"), unblock("agent/acme/bot")},
		{"block of the tenant", time.Hour, block("agent/acme"), unblock("agent/acme")},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDomains(t)
			operator := d.client("/hexr/operator/ann")
			neighbour := d.holder(d.mint("/agent/acme-corp/bot/main"))
			next, from := neighbour.raw(t, whoami)
			answeredWhole(t, from)
			svid, err := d.second.ca.Mint(spiffeid.RequireFromPath(domain, endsBot), c.ttl, false)
			if err != nil {
				t.Fatal(err)
			}
			h, ends := d.holder(svid), make(chan end, len(links))
			for _, l := range links {
				wait := l.open(t, h)
				go func() {
					err := wait()
					ends <- end{l.name, time.Now(), err}
				}()
			}
			begin := time.Now()
			if c.end != nil {
				c.end(t, d, operator)
			} else {
				begin = svid.Certificates[0].NotAfter
			}
			for range links {
				select {
				case e := <-ends:
					t.Logf("%s: %s ended after %s", c.name, e.link, e.at.Sub(begin).Round(time.Millisecond))
					if e.err != nil || e.at.Before(begin) {
						t.Errorf("%s, before there was a reason: %t, %v", e.link, e.at.Before(begin), e.err)
					}
				case <-time.After(time.Until(begin) + endsWithin):
					t.Fatalf("something is open after %s", endsWithin)
				}
			}
			if status := h.get(t); status != http.StatusUnauthorized && status != http.StatusForbidden {
				t.Errorf("a new request is answered with %d", status)
			}
			if c.back != nil {
				begin := time.Now()
				c.back(t, d, operator)
				until(t, "it to be let in again", func() bool { return h.get(t) == http.StatusOK })
				if time.Since(begin) > endsWithin {
					t.Error("it is let in again late")
				}
				t.Logf("%s: let in again after %s", c.name, time.Since(begin).Round(time.Millisecond))
			}
			if _, err := io.WriteString(next, whoami); err != nil {
				t.Errorf("the neighbour's connection: %v", err)
			}
			answeredWhole(t, from)
		})
	}
}

const whoami = "GET /v1/whoami HTTP/1.1\r\nHost: hexrd\r\n\r\n"

type end struct {
	link string
	at   time.Time
	err  error
}

func block(subject string) func(*testing.T, *domains, *client.Client) {
	return func(t *testing.T, _ *domains, operator *client.Client) {
		if err := operator.Block(t.Context(), subject); err != nil {
			t.Fatal(err)
		}
	}
}

func unblock(subject string) func(*testing.T, *domains, *client.Client) {
	return func(t *testing.T, _ *domains, operator *client.Client) {
		if err := operator.Unblock(t.Context(), subject); err != nil {
			t.Fatal(err)
		}
	}
}

// get asks who the holder is, on a new connection.
func (h *holder) get(t *testing.T) int {
	t.Helper()
	web := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: h.cfg, DialTLSContext: elsewhere(h.cfg), DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+h.d.server.Addr()+"/v1/whoami", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := web.Do(req)
	if err != nil && strings.Contains(err.Error(), "EOF") { // closed as soon as it was opened
		return http.StatusUnauthorized
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
