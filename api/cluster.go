package api

import (
	"context"
	"encoding/hex"
	"errors"
	"time"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const (
	defaultTokenTTL = time.Hour
	maxTokenTTL     = 24 * time.Hour
)

func (s *Server) status(ctx context.Context, _ *hexrv1.StatusRequest) (*hexrv1.StatusResponse, error) {
	return s.backend.Status(ctx)
}

func (s *Server) members(ctx context.Context, _ *hexrv1.MembersRequest) (*hexrv1.MembersResponse, error) {
	return s.backend.Members(ctx)
}

// removeMember logs the removal, then takes the node out of raft.
func (s *Server) removeMember(ctx context.Context, req *hexrv1.RemoveMemberRequest) (*hexrv1.RemoveMemberResponse, error) {
	_, _, err := s.decide(ctx, s.access(callOf(ctx), &fsmpb.Access{
		Op: &fsmpb.Access_MemberRemove{MemberRemove: &fsmpb.MemberRemove{NodeId: req.GetNodeId()}},
	}))
	if f := failureOf(err); err != nil && f.reason == "NOT_FOUND" {
		m, ok := s.backend.Store().Member(req.GetNodeId())
		if !ok || !m.GetRemoved() {
			return nil, err
		}
		// It was decided before, and raft's part may have been cut off: do that again.
	} else if err != nil {
		return nil, err
	}
	if err := s.backend.RemoveMember(ctx, req.GetNodeId()); err != nil {
		return nil, notDone(err)
	}
	return &hexrv1.RemoveMemberResponse{}, nil
}

// notDone says that the decision is logged and raft's part is not done.
func notDone(err error) error {
	if ctxErr := failureOf(err); ctxErr != errPanic {
		return ctxErr
	}
	return errConfiguration
}

func (s *Server) transfer(ctx context.Context, req *hexrv1.TransferLeadershipRequest) (*hexrv1.TransferLeadershipResponse, error) {
	_, _, err := s.decide(ctx, s.access(callOf(ctx), &fsmpb.Access{
		Op: &fsmpb.Access_MemberTransfer{MemberTransfer: &fsmpb.MemberTransfer{NodeId: req.GetNodeId()}},
	}))
	if err != nil {
		return nil, err
	}
	leader, err := s.backend.Transfer(ctx, req.GetNodeId())
	if err != nil {
		return nil, notDone(err)
	}
	return &hexrv1.TransferLeadershipResponse{Leader: leader}, nil
}

func (s *Server) createToken(ctx context.Context, req *hexrv1.CreateTokenRequest) (*hexrv1.CreateTokenResponse, error) {
	ttl := defaultTokenTTL
	if req.GetTtl() != nil {
		ttl = req.GetTtl().AsDuration()
	}
	if ttl <= 0 || ttl > maxTokenTTL {
		return nil, invalid("ttl: more than 0, at most 24h")
	}
	token, err := newToken()
	if err != nil {
		return nil, err
	}
	hash, err := TokenHash(token)
	if err != nil {
		return nil, err
	}
	r, _, err := s.decide(ctx, s.access(callOf(ctx), &fsmpb.Access{
		Op: &fsmpb.Access_TokenCreate{TokenCreate: &fsmpb.TokenCreate{Hash: hash[:], NodeId: req.GetNodeId(), Ttl: int64(ttl)}},
	}))
	if err != nil {
		return nil, err
	}
	t := r.GetTokenSet().GetTokens()[0]
	return &hexrv1.CreateTokenResponse{
		Token: token, Id: hex.EncodeToString(t.GetId()), NodeId: t.GetNodeId(), ExpiresAt: stamp(t.GetExpiresAt()),
	}, nil
}

func (s *Server) listTokens(ctx context.Context, _ *hexrv1.ListTokensRequest) (*hexrv1.ListTokensResponse, error) {
	r, _, err := s.decide(ctx, s.access(callOf(ctx), &fsmpb.Access{Op: &fsmpb.Access_TokenList{TokenList: &fsmpb.TokenList{}}}))
	if err != nil {
		return nil, err
	}
	resp := &hexrv1.ListTokensResponse{}
	for _, t := range r.GetTokenSet().GetTokens() {
		resp.Tokens = append(resp.Tokens, &hexrv1.Token{
			Id: hex.EncodeToString(t.GetId()), NodeId: t.GetNodeId(), CreatedAt: stamp(t.GetCreatedAt()),
			ExpiresAt: stamp(t.GetExpiresAt()), Used: t.GetUsed(),
		})
	}
	return resp, nil
}

func (s *Server) revokeToken(ctx context.Context, req *hexrv1.RevokeTokenRequest) (*hexrv1.RevokeTokenResponse, error) {
	id, err := hex.DecodeString(req.GetId())
	if err != nil || len(id) != 8 {
		return nil, invalid("id: 16 hexadecimal digits, as `hexrd token list` shows")
	}
	_, _, err = s.decide(ctx, s.access(callOf(ctx), &fsmpb.Access{
		Op: &fsmpb.Access_TokenRevoke{TokenRevoke: &fsmpb.TokenRevoke{Id: id}},
	}))
	return &hexrv1.RevokeTokenResponse{}, err
}

func (s *Server) getSettings(ctx context.Context, _ *hexrv1.GetSettingsRequest) (*hexrv1.GetSettingsResponse, error) {
	r, _, err := s.decide(ctx, s.access(callOf(ctx), &fsmpb.Access{Op: &fsmpb.Access_SettingsGet{SettingsGet: &fsmpb.SettingsGet{}}}))
	if err != nil {
		return nil, err
	}
	return &hexrv1.GetSettingsResponse{Settings: fsm.SettingsMap(r.GetSettings())}, nil
}

func (s *Server) setSetting(ctx context.Context, req *hexrv1.SetSettingRequest) (*hexrv1.SetSettingResponse, error) {
	if err := fsm.CheckSetting(req.GetName(), req.GetValue()); err != nil {
		return nil, invalid("setting: " + err.Error())
	}
	r, _, err := s.decide(ctx, s.access(callOf(ctx), &fsmpb.Access{
		Op: &fsmpb.Access_SettingsSet{SettingsSet: &fsmpb.SettingsSet{Name: req.GetName(), Value: req.GetValue()}},
	}))
	if err != nil {
		return nil, err
	}
	return &hexrv1.SetSettingResponse{Settings: fsm.SettingsMap(r.GetSettings())}, nil
}

func (s *Server) block(ctx context.Context, req *hexrv1.BlockRequest) (*hexrv1.BlockResponse, error) {
	c := callOf(ctx)
	if err := fsm.CheckSubject(req.GetSubject(), s.cfg.TrustDomain); err != nil {
		return nil, invalid("subject: " + err.Error())
	}
	if req.GetSubject() == c.caller.ID {
		return nil, invalid("subject: you would block yourself; another operator can")
	}
	_, _, err := s.decide(ctx, s.access(c, &fsmpb.Access{
		Op: &fsmpb.Access_Block{Block: &fsmpb.Block{Subject: req.GetSubject()}},
	}))
	return &hexrv1.BlockResponse{}, err
}

func (s *Server) unblock(ctx context.Context, req *hexrv1.UnblockRequest) (*hexrv1.UnblockResponse, error) {
	_, _, err := s.decide(ctx, s.access(callOf(ctx), &fsmpb.Access{
		Op: &fsmpb.Access_Unblock{Unblock: &fsmpb.Unblock{Subject: req.GetSubject()}},
	}))
	if f := outcomeFailures[fsmpb.Outcome_OUTCOME_NOT_FOUND]; errors.Is(err, f) {
		return nil, fail(f.code, f.reason, "it is not blocked, as it is written there: `hexrd block list` shows who is")
	}
	return &hexrv1.UnblockResponse{}, err
}

func (s *Server) listBlocks(ctx context.Context, _ *hexrv1.ListBlocksRequest) (*hexrv1.ListBlocksResponse, error) {
	r, _, err := s.decide(ctx, s.access(callOf(ctx), &fsmpb.Access{Op: &fsmpb.Access_BlockList{BlockList: &fsmpb.BlockList{}}}))
	if err != nil {
		return nil, err
	}
	return &hexrv1.ListBlocksResponse{Subjects: r.GetBlockSet().GetSubjects()}, nil
}
