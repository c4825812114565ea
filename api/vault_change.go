package api

import (
	"context"
	"strconv"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// change is what delete, undelete and destroy share.
func (s *Server) change(ctx context.Context, op, path, scope string, version uint64,
	access func(path, scope string) *fsmpb.Access,
) (*fsmpb.Result, error) {
	c := callOf(ctx)
	p, err := parsePath(path)
	if err != nil {
		return nil, err
	}
	full, err := fullScope(c, scope)
	if err != nil {
		return nil, err
	}
	a := access(string(p), full.String())
	a.RequestDigest = s.requestDigest(op, string(p), full.String(), strconv.FormatUint(version, 10))
	r, _, err := s.decide(ctx, s.access(c, a))
	return r, err
}

func (s *Server) delete(ctx context.Context, req *hexrv1.DeleteRequest) (*hexrv1.DeleteResponse, error) {
	r, err := s.change(ctx, "delete", req.GetPath(), req.GetScope(), 0, func(path, scope string) *fsmpb.Access {
		return &fsmpb.Access{Op: &fsmpb.Access_Delete{Delete: &fsmpb.Delete{Path: path, Scope: scope}}}
	})
	if err != nil {
		return nil, err
	}
	w := r.GetWritten()
	return &hexrv1.DeleteResponse{Path: w.GetPath(), Version: w.GetVersion(), Scope: w.GetScope(), Replayed: replayed(r)}, nil
}

func (s *Server) undelete(ctx context.Context, req *hexrv1.UndeleteRequest) (*hexrv1.UndeleteResponse, error) {
	r, err := s.change(ctx, "undelete", req.GetPath(), req.GetScope(), 0, func(path, scope string) *fsmpb.Access {
		return &fsmpb.Access{Op: &fsmpb.Access_Undelete{Undelete: &fsmpb.Undelete{Path: path, Scope: scope}}}
	})
	if err != nil {
		return nil, err
	}
	w := r.GetWritten()
	return &hexrv1.UndeleteResponse{Path: w.GetPath(), Version: w.GetVersion(), Scope: w.GetScope(), Replayed: replayed(r)}, nil
}

func (s *Server) destroy(ctx context.Context, req *hexrv1.DestroyRequest) (*hexrv1.DestroyResponse, error) {
	r, err := s.change(ctx, "destroy", req.GetPath(), req.GetScope(), req.GetVersion(), func(path, scope string) *fsmpb.Access {
		return &fsmpb.Access{Op: &fsmpb.Access_Destroy{Destroy: &fsmpb.Destroy{
			Path: path, Scope: scope, Version: req.GetVersion(),
		}}}
	})
	if err != nil {
		return nil, err
	}
	w := r.GetWritten()
	return &hexrv1.DestroyResponse{Path: w.GetPath(), Version: w.GetVersion(), Scope: w.GetScope(), Replayed: replayed(r)}, nil
}
