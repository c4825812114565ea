package api

import (
	"context"
	"encoding/hex"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	grpcmetadata "google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

const (
	// maxRequest bounds a caller's gRPC message: the largest value, its labels, and
	// enough above it to refuse what is too large in our own words.
	maxRequest = 5 << 18
	// maxStreams of one connection: somewhat more than a caller may have in flight,
	// so that it is told. What a caller does not read waits in the node's memory.
	maxStreams = 320
)

// streamWorkers goroutines of a server take calls one after the other: their stacks
// have grown already. More calls than that at a time get goroutines of their own.
const streamWorkers = 128

// Windows that do not adapt: to measure what they should be, gRPC answers each
// message with a ping, and so doubles what a call writes and reads. They bound what
// a connection sends that nobody has read yet; a stream's grows by itself for a
// message that is larger.
const (
	streamWindow = 64 << 10
	connWindow   = 1 << 20
)

// maxHeaders bounds the metadata of a call.
const maxHeaders = 32 << 10

// GRPCOptions make every call of a server, whatever its service, go through the
// limits and the method table.
func (s *Server) GRPCOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.InTapHandle(s.tap), grpc.StatsHandler(connections{s}),
		grpc.UnaryInterceptor(s.interceptUnary), grpc.StreamInterceptor(s.interceptStream),
		grpc.MaxRecvMsgSize(maxRequest), grpc.MaxHeaderListSize(maxHeaders), grpc.MaxConcurrentStreams(maxStreams),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.StaticStreamWindowSize(streamWindow), grpc.StaticConnWindowSize(connWindow),
	}
}

// RegisterGRPC serves Vault, Audit, Cluster and grpc.health.v1.
func (s *Server) RegisterGRPC(r grpc.ServiceRegistrar) {
	hexrv1.RegisterVaultServer(r, vaultService{s: s})
	hexrv1.RegisterAuditServer(r, auditService{s: s})
	hexrv1.RegisterClusterServer(r, clusterService{s: s})
	healthpb.RegisterHealthServer(r, healthService{health.NewServer(), s})
}

func (s *Server) interceptUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	peer, known := s.cfg.PeerFromContext(ctx)
	message, ok := req.(proto.Message)
	if !ok {
		return nil, errPanic.grpcError("")
	}
	md := grpcMetadata(ctx)
	md.pass.arrived()
	defer md.pass.release()
	md.requestID = requestIDIn(message)
	direct := func(ctx context.Context, req proto.Message) (proto.Message, error) {
		resp, err := handler(ctx, req)
		if err != nil {
			return nil, err
		}
		return resp.(proto.Message), nil
	}
	resp, c, err := s.invoke(ctx, peer, known, info.FullMethod, md, message, direct)
	if err == nil {
		return resp, nil
	}
	return nil, s.statusOf(err, c)
}

// statusOf leaves the statuses of other services (health, the nodes' own) alone.
// One that is wrapped is no answer: it came from another node.
func (s *Server) statusOf(err error, c *call) error {
	if _, ok := err.(interface{ GRPCStatus() *status.Status }); ok {
		return err
	}
	return failureOf(err).grpcError(requestIDText(c))
}

// requestIDIn is the one that a mutation's message has.
func requestIDIn(req proto.Message) []byte {
	if r, ok := req.(interface{ GetRequestId() []byte }); ok {
		return r.GetRequestId()
	}
	return nil
}

func requestIDText(c *call) string {
	if c == nil {
		return ""
	}
	return hex.EncodeToString(c.requestID[:])
}

func grpcMetadata(ctx context.Context) metadata {
	p, _ := ctx.Value(passKey{}).(*pass)
	if v := grpcmetadata.ValueFromIncomingContext(ctx, "traceparent"); len(v) > 0 { // without a copy of all others
		return metadata{traceParent: v[0], pass: p}
	}
	return metadata{pass: p}
}

func (s *Server) interceptStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	peer, known := s.cfg.PeerFromContext(stream.Context())
	md := grpcMetadata(stream.Context())
	err := s.openStream(stream.Context(), peer, known, info.FullMethod, md, func(ctx context.Context) error {
		return handler(srv, streamWithContext{stream, ctx, md.pass})
	})
	if err == nil {
		return nil
	}
	return failureOf(err).grpcError("")
}

// openStream is invoke for streams: the same table, identity, class and limits.
func (s *Server) openStream(ctx context.Context, peer Peer, known bool, name string, md metadata, run func(context.Context) error) (err error) {
	begin := time.Now()
	defer func() { s.metrics.answered(name, err, time.Since(begin)) }()
	defer func() {
		if v := recover(); v != nil {
			s.panicked(name, v)
			err = errPanic
		}
	}()
	c, err := s.admit(peer, known, name, md)
	if err != nil {
		return err
	}
	defer c.pass.release()
	if err := c.pass.open(s.backend.Store().Settings()); err != nil {
		return err
	}
	return run(context.WithValue(ctx, callKey{}, c))
}

type streamWithContext struct {
	grpc.ServerStream
	ctx  context.Context
	pass *pass
}

func (s streamWithContext) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	s.pass.arrived()
	return err
}

func (s streamWithContext) Context() context.Context { return s.ctx }

// healthService answers whether this node serves; it needs a certificate as all
// of gRPC does.
type healthService struct {
	*health.Server
	s *Server
}

func (h healthService) Check(_ context.Context, req *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	services := []string{"", hexrv1.Vault_ServiceDesc.ServiceName, hexrv1.Audit_ServiceDesc.ServiceName, hexrv1.Cluster_ServiceDesc.ServiceName}
	if !slices.Contains(services, req.GetService()) {
		return nil, errMethod
	}
	serving := healthpb.HealthCheckResponse_SERVING
	if ok, _ := h.s.backend.Healthy(); !ok {
		serving = healthpb.HealthCheckResponse_NOT_SERVING
	}
	return &healthpb.HealthCheckResponse{Status: serving}, nil
}
