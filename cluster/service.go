package cluster

import (
	"context"
	"crypto/subtle"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hexrdev/hexrd/cluster/clusterpb"
)

// Backend is the replica behind the Peer service and members' proposals. Refusals are
// *RefusalError; any other error tells the caller that the outcome is unknown.
type Backend interface {
	Propose(ctx context.Context, from string, proposal []byte) ([]byte, error)
	Join(ctx context.Context, from Peer, req *clusterpb.JoinRequest, remote string) (*clusterpb.JoinResponse, error)
	Enter(ctx context.Context, nodeID string, req *clusterpb.EnterRequest) error
	Status(ctx context.Context, markOf string) (*clusterpb.StatusResponse, error)
	Root(ctx context.Context, size uint64) ([]byte, error)
	Change(ctx context.Context, from string, req *clusterpb.ChangeRequest) error
	Key(ctx context.Context, from Peer, req *clusterpb.KeyRequest) ([]byte, error)
	KeyUse(ctx context.Context) ([]*clusterpb.StorageKeyUse, error)
	Sign(ctx context.Context, req *clusterpb.SignRequest) ([]byte, error)
	ClusterID() [16]byte
	IsMember(nodeID string) bool
}

// RegisterPeer serves the Peer service with the backend.
func RegisterPeer(r grpc.ServiceRegistrar, b Backend) {
	clusterpb.RegisterPeerServer(r, &service{backend: b})
}

type service struct {
	clusterpb.UnimplementedPeerServer
	backend Backend
}

// node is the calling node; every method begins with it.
func (s *service) node(ctx context.Context) (Peer, error) {
	p, ok := PeerFromContext(ctx)
	if !ok || p.ID == "" {
		return Peer{}, status.Error(codes.Unauthenticated, "a valid X.509-SVID is required")
	}
	if p.Node == "" {
		return Peer{}, status.Error(codes.PermissionDenied, "only nodes call this")
	}
	return p, nil
}

// member also checks the cluster, and that the node is in its configuration.
func (s *service) member(ctx context.Context, clusterID []byte) (Peer, error) {
	p, err := s.node(ctx)
	if err != nil {
		return Peer{}, err
	}
	return p, s.belongs(p, clusterID)
}

func (s *service) belongs(p Peer, clusterID []byte) error {
	if !s.same(clusterID) {
		return &RefusalError{Kind: clusterpb.Refusal_KIND_WRONG_CLUSTER}
	}
	if !s.backend.IsMember(p.Node) {
		return &RefusalError{Kind: clusterpb.Refusal_KIND_NOT_MEMBER}
	}
	return nil
}

func (s *service) same(clusterID []byte) bool {
	id := s.backend.ClusterID()
	return subtle.ConstantTimeCompare(clusterID, id[:]) == 1
}

// answer puts a refusal into the response and leaves a status error of this
// service as it is; one that is wrapped came from another node.
func answer(err error) (*clusterpb.Refusal, error) {
	if _, ok := err.(interface{ GRPCStatus() *status.Status }); ok {
		return nil, err
	}
	return toRefusal(err), nil
}

func (s *service) Join(ctx context.Context, req *clusterpb.JoinRequest) (*clusterpb.JoinResponse, error) {
	p, err := s.node(ctx)
	var resp *clusterpb.JoinResponse
	if err == nil {
		resp, err = s.backend.Join(ctx, p, req, p.Addr)
	}
	if err == nil {
		return resp, nil
	}
	refusal, err := answer(err)
	return &clusterpb.JoinResponse{Refusal: refusal}, err
}

func (s *service) Enter(ctx context.Context, req *clusterpb.EnterRequest) (*clusterpb.EnterResponse, error) {
	p, err := s.node(ctx)
	if err == nil && !s.same(req.GetClusterId()) {
		err = &RefusalError{Kind: clusterpb.Refusal_KIND_WRONG_CLUSTER}
	}
	if err == nil {
		err = s.backend.Enter(ctx, p.Node, req)
	}
	refusal, err := answer(err)
	return &clusterpb.EnterResponse{Refusal: refusal}, err
}

func (s *service) Status(ctx context.Context, req *clusterpb.StatusRequest) (*clusterpb.StatusResponse, error) {
	_, err := s.member(ctx, req.GetClusterId())
	var resp *clusterpb.StatusResponse
	if err == nil {
		resp, err = s.backend.Status(ctx, req.GetMarkOf())
	}
	if err == nil {
		return resp, nil
	}
	refusal, err := answer(err)
	return &clusterpb.StatusResponse{Refusal: refusal}, err
}

func (s *service) Root(ctx context.Context, req *clusterpb.RootRequest) (*clusterpb.RootResponse, error) {
	_, err := s.member(ctx, req.GetClusterId())
	var root []byte
	if err == nil {
		root, err = s.backend.Root(ctx, req.GetSize())
	}
	refusal, err := answer(err)
	return &clusterpb.RootResponse{Root: root, Refusal: refusal}, err
}

func (s *service) Change(ctx context.Context, req *clusterpb.ChangeRequest) (*clusterpb.ChangeResponse, error) {
	p, err := s.member(ctx, req.GetClusterId())
	if err == nil {
		err = s.backend.Change(ctx, p.Node, req)
	}
	refusal, err := answer(err)
	return &clusterpb.ChangeResponse{Refusal: refusal}, err
}

func (s *service) Key(ctx context.Context, req *clusterpb.KeyRequest) (*clusterpb.KeyResponse, error) {
	p, err := s.member(ctx, req.GetClusterId())
	var key []byte
	if err == nil {
		key, err = s.backend.Key(ctx, p, req)
	}
	refusal, err := answer(err)
	return &clusterpb.KeyResponse{Key: key, Refusal: refusal}, err
}

func (s *service) KeyUse(ctx context.Context, req *clusterpb.KeyUseRequest) (*clusterpb.KeyUseResponse, error) {
	_, err := s.member(ctx, req.GetClusterId())
	var keys []*clusterpb.StorageKeyUse
	if err == nil {
		keys, err = s.backend.KeyUse(ctx)
	}
	refusal, err := answer(err)
	return &clusterpb.KeyUseResponse{Keys: keys, Refusal: refusal}, err
}

func (s *service) Sign(ctx context.Context, req *clusterpb.SignRequest) (*clusterpb.SignResponse, error) {
	_, err := s.member(ctx, req.GetClusterId())
	var note []byte
	if err == nil {
		note, err = s.backend.Sign(ctx, req)
	}
	refusal, err := answer(err)
	return &clusterpb.SignResponse{Note: note, Refusal: refusal}, err
}
