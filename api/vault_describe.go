package api

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

func (s *Server) describe(ctx context.Context, req *hexrv1.DescribeRequest) (*hexrv1.DescribeResponse, error) {
	c := callOf(ctx)
	path, scope, err := readTarget(c, req.GetPath(), req.GetScope())
	if err != nil {
		return nil, err
	}
	r, _, err := s.decide(ctx, s.access(c, &fsmpb.Access{
		Op: &fsmpb.Access_Describe{Describe: &fsmpb.Describe{Path: path, Scope: scope}},
	}))
	if err != nil {
		return nil, err
	}
	return &hexrv1.DescribeResponse{Secret: secretInfo(r.GetSecret())}, nil
}

func (s *Server) versions(ctx context.Context, req *hexrv1.VersionsRequest) (*hexrv1.VersionsResponse, error) {
	c := callOf(ctx)
	path, scope, err := readTarget(c, req.GetPath(), req.GetScope())
	if err != nil {
		return nil, err
	}
	r, _, err := s.decide(ctx, s.access(c, &fsmpb.Access{
		Op: &fsmpb.Access_Versions{Versions: &fsmpb.Versions{Path: path, Scope: scope}},
	}))
	if err != nil {
		return nil, err
	}
	list := r.GetVersionList()
	resp := &hexrv1.VersionsResponse{Path: list.GetPath(), Scope: list.GetScope()}
	for _, v := range list.GetVersions() {
		resp.Versions = append(resp.Versions, &hexrv1.VersionInfo{
			Version: v.GetVersion(), CreatedAt: stamp(v.GetCreatedAt()), Size: v.GetSize(),
			Deleted: v.GetDeleted(), Destroyed: v.GetDestroyed(), Current: v.GetCurrent(), Pending: v.GetPending(),
			ExpiresAt: stamp(v.GetExpiresAt()),
		})
	}
	return resp, nil
}

func readTarget(c *call, path, scope string) (string, string, error) {
	p, err := parsePath(path)
	if err != nil {
		return "", "", err
	}
	pinned, err := pinnedScope(c, scope)
	return string(p), pinned, err
}

// whoAmI is answered from the connection alone.
func (s *Server) whoAmI(ctx context.Context, _ *hexrv1.WhoAmIRequest) (*hexrv1.WhoAmIResponse, error) {
	c := callOf(ctx)
	resp := &hexrv1.WhoAmIResponse{
		SpiffeId: c.caller.ID, Class: c.caller.Class.String(), Svid: c.peer.Kind,
		ExpiresAt: timestamppb.New(c.peer.NotAfter), Node: s.backend.NodeID(),
	}
	for _, scope := range fsm.ReadScopes(c.caller) {
		resp.Scopes = append(resp.Scopes, scope.String())
	}
	return resp, nil
}
