package api

import (
	"context"
	"encoding/base64"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const defaultPage = 100

// list evaluates what the log granted on this node's own store, at the grant's
// entry or later.
func (s *Server) list(ctx context.Context, req *hexrv1.ListRequest) (*hexrv1.ListResponse, error) {
	c := callOf(ctx)
	prefix, err := fsm.ParsePrefix(req.GetPrefix())
	if err != nil {
		return nil, invalid("prefix: " + err.Error())
	}
	scope, err := pinnedScope(c, req.GetScope())
	if err != nil {
		return nil, err
	}
	place := "list\x00" + c.caller.ID + "\x00" + prefix + "\x00" + scope
	after, err := s.openToken(place, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	r, index, err := s.decide(ctx, s.access(c, &fsmpb.Access{
		Op: &fsmpb.Access_List{List: &fsmpb.List{Prefix: prefix, Scope: scope}},
	}))
	if err != nil {
		return nil, err
	}
	store := s.backend.Store()
	if err := store.WaitApplied(ctx, index); err != nil {
		return nil, err
	}
	page, err := store.List(ctx, fsm.ListQuery{
		Scopes: r.GetListGrant().GetScopes(), Prefix: prefix, After: after,
		Limit: pageSize(req.GetPageSize(), store.Settings().GetListPageMax()), IncludeDeleted: req.GetIncludeDeleted(),
	})
	if err != nil {
		return nil, err
	}
	resp := &hexrv1.ListResponse{}
	for _, secret := range page.Secrets {
		resp.Secrets = append(resp.Secrets, secretInfo(secret))
	}
	resp.NextPageToken, err = s.sealToken(place, page.Next)
	return resp, err
}

func pageSize(asked uint32, limit uint64) int {
	if asked == 0 {
		asked = defaultPage
	}
	return int(min(uint64(asked), limit))
}

// A page token is sealed: it holds a path, and is bound to caller and query.
func (s *Server) sealToken(place, next string) (string, error) {
	if next == "" {
		return "", nil
	}
	sealed, err := s.backend.Keys().SealRow([]byte("page token\x00"+place), []byte(next))
	return base64.RawURLEncoding.EncodeToString(sealed), err
}

func (s *Server) openToken(place, token string) (string, error) {
	if token == "" {
		return "", nil
	}
	sealed, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return "", invalid("page_token, or cursor: use the one of the page before, with the same request")
	}
	next, err := s.backend.Keys().OpenRow([]byte("page token\x00"+place), sealed)
	if err != nil {
		return "", invalid("page_token, or cursor: use the one of the page before, with the same request")
	}
	return string(next), nil
}

func secretInfo(secret *fsmpb.Secret) *hexrv1.SecretInfo {
	return &hexrv1.SecretInfo{
		Path: secret.GetPath(), Scope: secret.GetScope(), Version: secret.GetVersion(), Metadata: secret.GetLabels(),
		CreatedAt: stamp(secret.GetCreatedAt()), DeletedAt: stamp(secret.GetDeletedAt()), Size: secret.GetSize(),
		ByProvisioner: secret.GetByProvisioner(),
	}
}
