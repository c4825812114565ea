package hexrd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/hexrdev/hexrd/api"
	"github.com/hexrdev/hexrd/cluster"
	"github.com/hexrdev/hexrd/internal/quiet"
)

const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = 30 * time.Second
	answerTimeout = bodyTimeout + 30*time.Second // of a request, to the last byte of its answer; streams have their own
	idleTimeout   = 2 * time.Minute
	maxHeader     = 32 << 10
	drainTimeout  = 5 * time.Second
)

func (s *Server) listen(ctx context.Context) (err error) {
	s.listener, err = cluster.Listen(ctx, cluster.Config{
		Bind: s.cfg.bind(), Advertise: s.cfg.advertise(), TLS: s.tls, Admission: s.admission,
		ClusterID: s.clusterID, Logger: s.log,
	})
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return nil
}

// serve answers gRPC and HTTP on the listener, and the admin socket.
func (s *Server) serve() (err error) {
	s.api, err = api.New(api.Config{
		Backend: backend{s}, TrustDomain: s.td.Name(), PeerFromContext: peerFromContext, PeerFromConn: peerFromConn, Tokens: s.tokens,
		Logger: s.log, Registry: s.registry,
	})
	if err != nil {
		return fmt.Errorf("open api: %w", err)
	}
	s.registerMetrics()
	s.grpc, s.nodes = s.newGRPC(), s.newGRPC()
	s.http = &http.Server{
		Handler: s.api.HTTPHandler(), ReadHeaderTimeout: headerTimeout, ReadTimeout: bodyTimeout, WriteTimeout: answerTimeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: maxHeader, ConnContext: withPeer,
		ErrorLog: quiet.Noise(s.log, "the HTTP server reports a problem with a connection").Std(),
	}
	s.own(func(context.Context) { s.ended(s.grpc.Serve(s.listener.GRPC())) })
	s.own(func(context.Context) { s.ended(s.nodes.Serve(s.listener.Nodes())) })
	s.carriers = []*carrier{
		s.carry(s.listener.Sessions(), s.api.ServeSessions),
		s.carry(s.listener.Proposals(), func(ctx context.Context, l net.Listener) error {
			return cluster.ServeProposals(ctx, l, replica{s}, s.log)
		}),
	}
	s.own(func(context.Context) { s.ended(s.http.Serve(s.listener.HTTP())) })
	if s.cfg.AdminSocket != "" {
		if s.admin, err = openAdmin(s.cfg.AdminSocket, s); err != nil {
			return err
		}
	}
	return nil
}

// newGRPC is a server for callers, or one for nodes.
func (s *Server) newGRPC() *grpc.Server {
	g := grpc.NewServer(append(s.api.GRPCOptions(),
		grpc.Creds(cluster.Credentials()),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	)...)
	s.api.RegisterGRPC(g)
	cluster.RegisterPeer(g, replica{s}) // also for callers: the method table refuses them
	return g
}

// ended reports a server that stopped while it should serve.
func (s *Server) ended(err error) {
	if err == nil || errors.Is(err, http.ErrServerClosed) || errors.Is(err, grpc.ErrServerStopped) || s.ctx.Err() != nil {
		return
	}
	s.fail(fmt.Errorf("serve: %w", err))
}

// stopServing lets what is being answered finish, for a bounded time.
func (s *Server) stopServing(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	if s.api != nil {
		s.api.EndStreams()
	}
	if s.admin != nil {
		s.admin.close()
	}
	if s.http != nil {
		if s.http.Shutdown(ctx) != nil {
			_ = s.http.Close()
		}
	}
	var stopping sync.WaitGroup
	for _, g := range []*grpc.Server{s.grpc, s.nodes} {
		if g != nil {
			stopping.Go(func() { stopGRPC(ctx, g) })
		}
	}
	for _, c := range s.carriers {
		stopping.Go(func() { c.stop(ctx) })
	}
	stopping.Wait()
}

func stopGRPC(ctx context.Context, g *grpc.Server) {
	defer context.AfterFunc(ctx, g.Stop)()
	g.GracefulStop()
}

// peerFromContext is who called over gRPC.
func peerFromContext(ctx context.Context) (api.Peer, bool) {
	conn, ok := cluster.ConnFromContext(ctx)
	if !ok {
		return api.Peer{}, false
	}
	return peerFromConn(conn)
}

// peerFromConn is who is at the other end of a caller's connection.
func peerFromConn(c net.Conn) (api.Peer, bool) {
	conn, ok := c.(*cluster.Conn)
	if !ok {
		return api.Peer{}, false
	}
	p := conn.Peer()
	return api.Peer{
		ID: p.ID, Kind: p.Kind, NotAfter: p.NotAfter, Addr: p.Addr, Close: func() { _ = conn.Close() }, Written: conn.Written,
	}, p.ID != ""
}

// withPeer gives the requests of an HTTP connection its verified peer.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	conn, ok := c.(*cluster.Conn)
	if !ok {
		return ctx
	}
	p := conn.Peer()
	return api.WithPeer(ctx, api.Peer{
		ID: p.ID, Kind: p.Kind, NotAfter: p.NotAfter, Addr: c.RemoteAddr().String(),
		Presented: len(conn.ConnectionState().PeerCertificates) > 0,
	})
}
