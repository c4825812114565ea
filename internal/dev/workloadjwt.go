package dev

import (
	"context"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

// FetchJWTSVID makes a token for the audiences that are asked for.
func (s *WorkloadServer) FetchJWTSVID(ctx context.Context, req *workload.JWTSVIDRequest) (*workload.JWTSVIDResponse, error) {
	if err := fromWorkload(ctx); err != nil {
		return nil, err
	}
	issued, _ := s.next()
	id := issued.SVID.ID.String()
	switch {
	case len(req.GetAudience()) == 0:
		return nil, status.Error(codes.InvalidArgument, "a JWT-SVID needs an audience")
	case issued.Token == nil || req.GetSpiffeId() != "" && req.GetSpiffeId() != id:
		return nil, status.Error(codes.PermissionDenied, "no such identity is issued here")
	}
	token, err := issued.Token(ctx, req.GetAudience())
	if err != nil {
		return nil, status.Error(codes.Unavailable, "no JWT-SVID was made: does the dev cluster run?")
	}
	return &workload.JWTSVIDResponse{Svids: []*workload.JWTSVID{{SpiffeId: id, Svid: token}}}, nil
}

// FetchJWTBundles streams the JWT bundle.
func (s *WorkloadServer) FetchJWTBundles(_ *workload.JWTBundlesRequest, out grpc.ServerStreamingServer[workload.JWTBundlesResponse]) error {
	return stream(s, out, func(i Issued) (*workload.JWTBundlesResponse, error) {
		jwks, err := i.JWT.Marshal()
		if err != nil {
			return nil, err
		}
		return &workload.JWTBundlesResponse{Bundles: map[string][]byte{i.JWT.TrustDomain().IDString(): jwks}}, nil
	})
}

// ValidateJWTSVID verifies a token with the bundle as it is now.
func (s *WorkloadServer) ValidateJWTSVID(ctx context.Context, req *workload.ValidateJWTSVIDRequest) (*workload.ValidateJWTSVIDResponse, error) {
	if err := fromWorkload(ctx); err != nil {
		return nil, err
	}
	issued, err := s.issue(ctx)
	if err != nil {
		return nil, status.Error(codes.Unavailable, "the bundle is not to be had: does the dev cluster run?")
	}
	svid, err := jwtsvid.ParseAndValidate(req.GetSvid(), issued.JWT, []string{req.GetAudience()})
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "not a valid JWT-SVID of this trust domain for that audience")
	}
	claims, err := structpb.NewStruct(svid.Claims)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "the token's claims are no JSON object")
	}
	return &workload.ValidateJWTSVIDResponse{SpiffeId: svid.ID.String(), Claims: claims}, nil
}
