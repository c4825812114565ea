package api

import (
	"context"

	"google.golang.org/grpc"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

// The gRPC services: one line a method. The interceptors have admitted the call
// before a line runs.

type vaultService struct {
	hexrv1.UnimplementedVaultServer
	s *Server
}

func (v vaultService) Put(ctx context.Context, r *hexrv1.PutRequest) (*hexrv1.PutResponse, error) {
	return v.s.put(ctx, r)
}
func (v vaultService) Get(ctx context.Context, r *hexrv1.GetRequest) (*hexrv1.GetResponse, error) {
	return v.s.get(ctx, r)
}
func (v vaultService) BatchGet(ctx context.Context, r *hexrv1.BatchGetRequest) (*hexrv1.BatchGetResponse, error) {
	return v.s.batchGet(ctx, r)
}
func (v vaultService) List(ctx context.Context, r *hexrv1.ListRequest) (*hexrv1.ListResponse, error) {
	return v.s.list(ctx, r)
}
func (v vaultService) Delete(ctx context.Context, r *hexrv1.DeleteRequest) (*hexrv1.DeleteResponse, error) {
	return v.s.delete(ctx, r)
}
func (v vaultService) Undelete(ctx context.Context, r *hexrv1.UndeleteRequest) (*hexrv1.UndeleteResponse, error) {
	return v.s.undelete(ctx, r)
}
func (v vaultService) Destroy(ctx context.Context, r *hexrv1.DestroyRequest) (*hexrv1.DestroyResponse, error) {
	return v.s.destroy(ctx, r)
}
func (v vaultService) Describe(ctx context.Context, r *hexrv1.DescribeRequest) (*hexrv1.DescribeResponse, error) {
	return v.s.describe(ctx, r)
}
func (v vaultService) Versions(ctx context.Context, r *hexrv1.VersionsRequest) (*hexrv1.VersionsResponse, error) {
	return v.s.versions(ctx, r)
}
func (v vaultService) WhoAmI(ctx context.Context, r *hexrv1.WhoAmIRequest) (*hexrv1.WhoAmIResponse, error) {
	return v.s.whoAmI(ctx, r)
}
func (v vaultService) Watch(r *hexrv1.WatchRequest, stream grpc.ServerStreamingServer[hexrv1.WatchEvent]) error {
	if err := v.s.validate(r); err != nil {
		return err
	}
	return v.s.watch(stream.Context(), r, within(stream.Send))
}
func (v vaultService) RotateBegin(ctx context.Context, r *hexrv1.RotateBeginRequest) (*hexrv1.RotateBeginResponse, error) {
	return v.s.rotateBegin(ctx, r)
}
func (v vaultService) RotateStage(ctx context.Context, r *hexrv1.RotateStageRequest) (*hexrv1.RotateStageResponse, error) {
	return v.s.rotateStage(ctx, r)
}
func (v vaultService) RotateCommit(ctx context.Context, r *hexrv1.RotateCommitRequest) (*hexrv1.RotateCommitResponse, error) {
	return v.s.rotateCommit(ctx, r)
}
func (v vaultService) RotateAbort(ctx context.Context, r *hexrv1.RotateAbortRequest) (*hexrv1.RotateAbortResponse, error) {
	return v.s.rotateAbort(ctx, r)
}
func (v vaultService) SetRotation(ctx context.Context, r *hexrv1.SetRotationRequest) (*hexrv1.SetRotationResponse, error) {
	return v.s.setRotation(ctx, r)
}

type auditService struct {
	hexrv1.UnimplementedAuditServer
	s *Server
}

func (a auditService) Query(ctx context.Context, r *hexrv1.QueryRequest) (*hexrv1.QueryResponse, error) {
	return a.s.auditQuery(ctx, r)
}
func (a auditService) Tail(r *hexrv1.TailRequest, stream grpc.ServerStreamingServer[hexrv1.TailResponse]) error {
	if err := a.s.validate(r); err != nil {
		return err
	}
	return a.s.auditTail(stream.Context(), r, stream.Send)
}
func (a auditService) Verify(r *hexrv1.VerifyRequest, stream grpc.ServerStreamingServer[hexrv1.VerifyResponse]) error {
	if err := a.s.validate(r); err != nil {
		return err
	}
	return a.s.auditVerify(stream.Context(), r, stream.Send)
}

func (a auditService) Checkpoint(ctx context.Context, r *hexrv1.CheckpointRequest) (*hexrv1.CheckpointResponse, error) {
	return a.s.checkpoint(ctx, r)
}

type clusterService struct {
	hexrv1.UnimplementedClusterServer
	s *Server
}

func (c clusterService) Status(ctx context.Context, r *hexrv1.StatusRequest) (*hexrv1.StatusResponse, error) {
	return c.s.status(ctx, r)
}
func (c clusterService) Members(ctx context.Context, r *hexrv1.MembersRequest) (*hexrv1.MembersResponse, error) {
	return c.s.members(ctx, r)
}
func (c clusterService) RemoveMember(ctx context.Context, r *hexrv1.RemoveMemberRequest) (*hexrv1.RemoveMemberResponse, error) {
	return c.s.removeMember(ctx, r)
}
func (c clusterService) TransferLeadership(ctx context.Context, r *hexrv1.TransferLeadershipRequest) (*hexrv1.TransferLeadershipResponse, error) {
	return c.s.transfer(ctx, r)
}
func (c clusterService) CreateToken(ctx context.Context, r *hexrv1.CreateTokenRequest) (*hexrv1.CreateTokenResponse, error) {
	return c.s.createToken(ctx, r)
}
func (c clusterService) ListTokens(ctx context.Context, r *hexrv1.ListTokensRequest) (*hexrv1.ListTokensResponse, error) {
	return c.s.listTokens(ctx, r)
}
func (c clusterService) RevokeToken(ctx context.Context, r *hexrv1.RevokeTokenRequest) (*hexrv1.RevokeTokenResponse, error) {
	return c.s.revokeToken(ctx, r)
}
func (c clusterService) GetSettings(ctx context.Context, r *hexrv1.GetSettingsRequest) (*hexrv1.GetSettingsResponse, error) {
	return c.s.getSettings(ctx, r)
}
func (c clusterService) SetSetting(ctx context.Context, r *hexrv1.SetSettingRequest) (*hexrv1.SetSettingResponse, error) {
	return c.s.setSetting(ctx, r)
}
func (c clusterService) Block(ctx context.Context, r *hexrv1.BlockRequest) (*hexrv1.BlockResponse, error) {
	return c.s.block(ctx, r)
}
func (c clusterService) Unblock(ctx context.Context, r *hexrv1.UnblockRequest) (*hexrv1.UnblockResponse, error) {
	return c.s.unblock(ctx, r)
}
func (c clusterService) ListBlocks(ctx context.Context, r *hexrv1.ListBlocksRequest) (*hexrv1.ListBlocksResponse, error) {
	return c.s.listBlocks(ctx, r)
}
func (c clusterService) KeysStatus(ctx context.Context, r *hexrv1.KeysStatusRequest) (*hexrv1.KeysStatusResponse, error) {
	return c.s.keysStatus(ctx, r)
}
func (c clusterService) RotateKeys(ctx context.Context, r *hexrv1.RotateKeysRequest) (*hexrv1.RotateKeysResponse, error) {
	return c.s.rotateKeys(ctx, r)
}
