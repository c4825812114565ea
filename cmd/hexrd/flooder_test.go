package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/internal/dev"
	"github.com/hexrdev/hexrd/internal/frames"
)

// asFlooder makes the test binary a flood, until its standard input ends: "kind
// address directory".
const (
	asFlooder = "HEXRD_TEST_FLOOD"
	yielding  = "HEXRD_TEST_FLOOD_YIELDS" // "please": to yieldProcessors; "done"
)

const flooderID = "/agent/acme/flood/main"

// flooder is one caller that does as much as it can of one thing.
type flooder struct {
	addr string
	tls  *tls.Config // with the flooder's certificate

	Sent, Refused, Closed atomic.Int64 // Refused: told 429 or RESOURCE_EXHAUSTED
}

var floods = map[string]func(*flooder, context.Context){
	"reads":          (*flooder).reads,
	"denials":        (*flooder).denials,
	"big batches":    (*flooder).batches,
	"large puts":     (*flooder).puts,
	"carried calls":  (*flooder).carried,
	"bad tokens":     (*flooder).tokens,
	"handshakes":     (*flooder).handshakes,
	"connections":    (*flooder).connections,
	"slow headers":   (*flooder).slowHeaders,
	"slow bodies":    (*flooder).slowBodies,
	"silent calls":   (*flooder).silentCalls,
	"endless stream": (*flooder).streams,
}

func runFlood(spec string) error {
	if os.Getenv(yielding) == "please" {
		return yieldProcessors()
	}
	kind, rest, _ := strings.Cut(spec, "|")
	addr, dir, _ := strings.Cut(rest, "|")
	cfg, err := flooderTLS(dir, flooderID)
	if err != nil {
		return err
	}
	f := &flooder{addr: addr, tls: cfg}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	floods[kind](f, ctx)
	return json.NewEncoder(os.Stdout).Encode(map[string]int64{
		"sent": f.Sent.Load(), "refused": f.Refused.Load(), "closed": f.Closed.Load(),
	})
}

// yieldProcessors gives this process only the time of processors that no other
// wants: what a flood burns where it comes from is not what is measured. The lowest
// niceness is not enough, with which it may finish its slice before who wakes up
// runs. Both belong to a thread: all have it only if the program begins with it.
func yieldProcessors() error {
	runtime.LockOSThread()
	err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0)
	if err != nil {
		return fmt.Errorf("yield processors: %w", err)
	}
	if err := os.Setenv(yielding, "done"); err != nil {
		return fmt.Errorf("yield processors: %w", err)
	}
	return fmt.Errorf("begin again: %w", syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
}

// flooderTLS is a client's configuration, with an SVID of the cluster's CA.
func flooderTLS(dir, path string) (*tls.Config, error) {
	td := spiffeid.RequireTrustDomainFromString("hexr.cloud")
	ca, err := dev.OpenCA(filepath.Join(dir, "ca"), td)
	if err != nil {
		return nil, err
	}
	svid, err := ca.Mint(spiffeid.RequireFromPath(td, path), time.Hour, false)
	if err != nil {
		return nil, err
	}
	cert := tls.Certificate{PrivateKey: svid.PrivateKey}
	for _, c := range svid.Certificates {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}}, nil
}

// many runs one thing in n goroutines until the flood ends.
func (f *flooder) many(ctx context.Context, n int, do func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for ctx.Err() == nil {
				do(i)
			}
		})
	}
	all.Wait()
}

func (f *flooder) count(err error) {
	f.Sent.Add(1)
	switch status.Code(err) {
	case codes.ResourceExhausted:
		f.Refused.Add(1)
	case codes.Unavailable:
		f.Closed.Add(1)
	}
}

// connect opens connections, and returns what closes them.
func (f *flooder) connect(n int) (conns []*grpc.ClientConn, end func()) {
	for range n {
		c, err := grpc.NewClient("passthrough:///"+f.addr, grpc.WithTransportCredentials(credentials.NewTLS(f.tls.Clone())))
		if err != nil {
			panic(err)
		}
		conns = append(conns, c)
	}
	return conns, func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}
}

// calls runs a gRPC call in 128 goroutines over 8 connections.
func (f *flooder) calls(ctx context.Context, do func(context.Context, *grpc.ClientConn) error) {
	conns, end := f.connect(8)
	defer end()
	f.many(ctx, 128, func(i int) {
		call, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		f.count(do(call, conns[i%len(conns)]))
	})
}

func (f *flooder) reads(ctx context.Context) {
	f.calls(ctx, func(ctx context.Context, c *grpc.ClientConn) error {
		_, err := hexrv1.NewVaultClient(c).Get(ctx, &hexrv1.GetRequest{Path: "k"})
		return err
	})
}

func (f *flooder) denials(ctx context.Context) {
	f.calls(ctx, func(ctx context.Context, c *grpc.ClientConn) error {
		_, err := hexrv1.NewVaultClient(c).Get(ctx, &hexrv1.GetRequest{Path: "k", Scope: "spiffe://hexr.cloud/agent/other/bot/*"})
		return err
	})
}

func (f *flooder) batches(ctx context.Context) {
	paths := strings.Split(strings.Repeat("k,", 99)+"k", ",")
	f.calls(ctx, func(ctx context.Context, c *grpc.ClientConn) error {
		_, err := hexrv1.NewVaultClient(c).BatchGet(ctx, &hexrv1.BatchGetRequest{Paths: paths})
		return err
	})
}

func (f *flooder) puts(ctx context.Context) {
	labels, value := map[string]string{}, bytes.Repeat([]byte("v"), 64<<10)
	for i := range 16 {
		labels[fmt.Sprintf("%064d", i)] = strings.Repeat("l", 256)
	}
	f.calls(ctx, func(ctx context.Context, c *grpc.ClientConn) error {
		_, err := hexrv1.NewVaultClient(c).Put(ctx, &hexrv1.PutRequest{Path: "k", Value: value, Metadata: labels})
		return err
	})
}

// carried sends puts in 8 sessions, as fast as they take them, and cancels that cancel
// nothing.
func (f *flooder) carried(ctx context.Context) {
	put, err := proto.Marshal(&hexrv1.PutRequest{Path: "k", Value: make([]byte, 30<<10)})
	if err != nil {
		panic(err)
	}
	d := tls.Dialer{Config: f.tls.Clone()}
	d.Config.NextProtos = []string{"hexr-session"}
	f.many(ctx, 8, func(int) {
		conn, err := d.DialContext(ctx, "tcp", f.addr)
		if err != nil {
			f.Closed.Add(1)
			return
		}
		defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
		calls := frames.New(conn, 1<<20, time.Minute)
		var sending sync.WaitGroup
		defer sending.Wait()
		defer func() { _ = conn.Close() }()
		sending.Go(func() {
			for id := uint64(1); calls.Write(&hexrv1.Call{Id: id, Method: hexrv1.Vault_Put_FullMethodName, Request: put}) == nil; id++ {
				f.Sent.Add(1)
				if calls.Write(&hexrv1.Call{Cancelled: []uint64{id + 1}}) != nil {
					return
				}
			}
		})
		for {
			a := &hexrv1.Answer{}
			if calls.Read(a) != nil {
				f.Closed.Add(1)
				return
			}
			if a.GetError().GetReason() == "RATE_LIMITED" {
				f.Refused.Add(1)
			}
		}
	})
}

func (f *flooder) tokens(ctx context.Context) {
	cfg := f.tls.Clone()
	cfg.Certificates = nil
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: cfg, MaxIdleConnsPerHost: 64}}
	f.many(ctx, 64, func(int) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+f.addr+"/v1/whoami", nil)
		if err != nil {
			panic(err)
		}
		req.Header.Set("Authorization", "Bearer eyJhbGciOiJFUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiJ4In0."+strings.Repeat("A", 86))
		f.request(web, req)
	})
}

func (f *flooder) request(web *http.Client, req *http.Request) {
	f.Sent.Add(1)
	resp, err := web.Do(req)
	if err != nil {
		f.Closed.Add(1)
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusTooManyRequests {
		f.Refused.Add(1)
	}
}

// hello is a client's first flight, to be sent again and again.
func (f *flooder) hello(protocol string) []byte {
	client, server := net.Pipe()
	defer func() { _, _ = client.Close(), server.Close() }()
	cfg := f.tls.Clone()
	cfg.NextProtos, cfg.ServerName = []string{protocol}, "127.0.0.1"
	go func() { _ = tls.Client(client, cfg).Handshake() }()
	buf := make([]byte, 16<<10)
	n, err := server.Read(buf)
	if err != nil {
		panic(err)
	}
	return buf[:n]
}

// handshakes begins one after the other and finishes none.
func (f *flooder) handshakes(ctx context.Context) {
	hello := f.hello("http/1.1")
	f.many(ctx, 64, func(int) {
		f.Sent.Add(1)
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", f.addr)
		if err != nil {
			f.Closed.Add(1)
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = c.Write(hello)
		_ = c.SetDeadline(time.Now().Add(time.Second))
		if n, err := io.ReadAtLeast(c, make([]byte, 64), 64); err != nil || n < 64 { // an alert is 7 bytes
			f.Closed.Add(1)
		}
	})
}

// held opens connections and keeps each as long as it is left open.
func (f *flooder) held(ctx context.Context, n int, do func(net.Conn) error) {
	cfg := f.tls.Clone()
	cfg.NextProtos = []string{"http/1.1"}
	f.many(ctx, n, func(int) {
		f.Sent.Add(1)
		c, err := (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", f.addr)
		if err != nil {
			f.Closed.Add(1)
			return
		}
		stop := context.AfterFunc(ctx, func() { _ = c.Close() })
		defer stop()
		defer func() { _ = c.Close() }()
		if do(c) != nil {
			f.Closed.Add(1)
			return
		}
		answer, _ := io.ReadAll(io.LimitReader(c, 4096)) // until the node has enough
		if bytes.Contains(answer, []byte(" 429 ")) {
			f.Refused.Add(1)
		}
	})
}

func (f *flooder) connections(ctx context.Context) {
	f.held(ctx, 600, func(net.Conn) error { return nil })
}

func (f *flooder) slowHeaders(ctx context.Context) {
	f.held(ctx, 300, func(c net.Conn) error {
		_, err := c.Write([]byte("GET /v1/whoami HTTP/1.1\r\nHost: x\r\nX-Slow: "))
		return err
	})
}

func (f *flooder) slowBodies(ctx context.Context) {
	f.held(ctx, 300, func(c net.Conn) error {
		_, err := c.Write([]byte("PUT /v1/secrets/k HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\nConnection: close\r\n\r\n{"))
		return err
	})
}

// silentCalls begins gRPC calls whose message never comes.
func (f *flooder) silentCalls(ctx context.Context) {
	f.open(ctx, 600, hexrv1.Vault_Put_FullMethodName, nil)
}

func (f *flooder) streams(ctx context.Context) {
	from := uint64(0)
	f.open(ctx, 200, hexrv1.Audit_Tail_FullMethodName, &hexrv1.TailRequest{From: &from})
}

func (f *flooder) open(ctx context.Context, n int, method string, first any) {
	conns, end := f.connect(1)
	defer end()
	f.many(ctx, n, func(int) {
		stream, err := conns[0].NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
		if err == nil && first != nil {
			err = stream.SendMsg(first)
		}
		for err == nil {
			err = stream.RecvMsg(&hexrv1.TailResponse{})
		}
		f.count(err)
	})
}
