package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/hexrdev/hexrd/client"
)

// The echo is what a machine can do at most with this protocol: a gRPC call over
// mutual TLS that answers with a value and does nothing for it.

const echoMethod = "/hexr.bench.Echo/Get"

// loaded is an SVID from files.
type loaded struct {
	svid   *x509svid.SVID
	bundle *x509bundle.Bundle
}

func load(c client.Config) (loaded, error) {
	svid, err := x509svid.Load(c.CertFile, c.KeyFile)
	if err != nil {
		return loaded{}, errors.New("load SVID: not a pair of certificate and key")
	}
	b, err := x509bundle.Load(svid.ID.TrustDomain(), c.BundleFile)
	if err != nil {
		return loaded{}, errors.New("load the bundle: not PEM certificates")
	}
	return loaded{svid, b}, nil
}

func (l loaded) server() *tls.Config {
	cfg := tlsconfig.MTLSServerConfig(l.svid, l.bundle, tlsconfig.AuthorizeMemberOf(l.svid.ID.TrustDomain()))
	cfg.MinVersion = tls.VersionTLS13
	return cfg
}

func (l loaded) client() *tls.Config {
	cfg := tlsconfig.MTLSClientConfig(l.svid, l.bundle, tlsconfig.AuthorizeMemberOf(l.svid.ID.TrustDomain()))
	cfg.MinVersion = tls.VersionTLS13
	return cfg
}

// EchoBytes is the size of an answer.
const EchoBytes = valueSize

// EchoServer answers every call with a value of a size.
type EchoServer struct {
	grpc *grpc.Server
	addr string
	done chan error
}

// ServeEcho listens on loopback with an SVID.
func ServeEcho(ctx context.Context, id client.Config, size int) (*EchoServer, error) {
	l, err := load(id)
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	answer := &wrapperspb.BytesValue{Value: payload(size)}
	s := &EchoServer{
		grpc: grpc.NewServer(grpc.Creds(credentials.NewTLS(l.server()))), addr: listener.Addr().String(), done: make(chan error, 1),
	}
	s.grpc.RegisterService(&grpc.ServiceDesc{
		ServiceName: "hexr.bench.Echo", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Get",
			Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				var req wrapperspb.StringValue
				return answer, decode(&req)
			},
		}},
	}, s)
	go func() { s.done <- s.grpc.Serve(listener) }()
	return s, nil
}

// Addr is where it listens.
func (s *EchoServer) Addr() string { return s.addr }

// Close ends it.
func (s *EchoServer) Close() error {
	s.grpc.Stop()
	return <-s.done
}

// echo loads echo servers over as many connections as a load on the cluster uses.
func echo(ctx context.Context, c Config, addrs []string) (Rate, error) {
	conns, made := make([]*grpc.ClientConn, c.Workers), map[pair]*grpc.ClientConn{}
	defer func() {
		for _, conn := range made {
			_ = conn.Close()
		}
	}()
	for w := range conns {
		p := pair{w % len(c.Identities), addrs[w%len(addrs)]}
		if made[p] == nil {
			l, err := load(c.Identities[p.identity])
			if err != nil {
				return Rate{}, err
			}
			conn, err := grpc.NewClient("passthrough:///"+p.addr, grpc.WithTransportCredentials(credentials.NewTLS(l.client())), grpc.WithDisableServiceConfig())
			if err != nil {
				return Rate{}, err
			}
			made[p] = conn
		}
		conns[w] = made[p]
	}
	load := Load{Workers: c.Workers, Duration: c.Duration, WarmUp: c.WarmUp, Progress: c.Progress}
	return load.Drive(ctx, func(ctx context.Context, w int) error {
		return conns[w].Invoke(ctx, echoMethod, wrapperspb.String(path(w)), &wrapperspb.BytesValue{})
	})
}
