package client

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

func cluster(n grpc.ClientConnInterface) hexrv1.ClusterClient { return hexrv1.NewClusterClient(n) }

// Status of the node that answers.
func (c *Client) Status(ctx context.Context) (*hexrv1.StatusResponse, error) {
	return call(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (*hexrv1.StatusResponse, error) {
		return cluster(n).Status(ctx, &hexrv1.StatusRequest{})
	})
}

// Members of the cluster, as the node that answers sees them.
func (c *Client) Members(ctx context.Context) (*hexrv1.MembersResponse, error) {
	return call(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (*hexrv1.MembersResponse, error) {
		return cluster(n).Members(ctx, &hexrv1.MembersRequest{})
	})
}

// RemoveMember takes a node out of the cluster for good.
func (c *Client) RemoveMember(ctx context.Context, nodeID string) error {
	_, err := change(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (*hexrv1.RemoveMemberResponse, error) {
		return cluster(n).RemoveMember(ctx, &hexrv1.RemoveMemberRequest{NodeId: nodeID})
	})
	return err
}

// TransferLeadership moves leadership to a voter, or to the most up to date one,
// and returns who leads then.
func (c *Client) TransferLeadership(ctx context.Context, nodeID string) (string, error) {
	resp, err := call(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (*hexrv1.TransferLeadershipResponse, error) {
		return cluster(n).TransferLeadership(ctx, &hexrv1.TransferLeadershipRequest{NodeId: nodeID})
	})
	return resp.GetLeader(), err
}

// CreateToken makes a join token for a node ID.
func (c *Client) CreateToken(ctx context.Context, nodeID string, ttl time.Duration) (*hexrv1.CreateTokenResponse, error) {
	req := &hexrv1.CreateTokenRequest{NodeId: nodeID}
	if ttl != 0 {
		req.Ttl = durationpb.New(ttl)
	}
	return change(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (*hexrv1.CreateTokenResponse, error) {
		return cluster(n).CreateToken(ctx, req)
	})
}

// ListTokens shows join tokens without their secret.
func (c *Client) ListTokens(ctx context.Context) ([]*hexrv1.Token, error) {
	resp, err := call(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (*hexrv1.ListTokensResponse, error) {
		return cluster(n).ListTokens(ctx, &hexrv1.ListTokensRequest{})
	})
	return resp.GetTokens(), err
}

// RevokeToken makes a join token useless.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	_, err := change(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (*hexrv1.RevokeTokenResponse, error) {
		return cluster(n).RevokeToken(ctx, &hexrv1.RevokeTokenRequest{Id: id})
	})
	return err
}

// Settings of the cluster, by name.
func (c *Client) Settings(ctx context.Context) (map[string]string, error) {
	resp, err := call(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (*hexrv1.GetSettingsResponse, error) {
		return cluster(n).GetSettings(ctx, &hexrv1.GetSettingsRequest{})
	})
	return resp.GetSettings(), err
}

// SetSetting changes one setting, and returns all.
func (c *Client) SetSetting(ctx context.Context, name, value string) (map[string]string, error) {
	resp, err := change(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (*hexrv1.SetSettingResponse, error) {
		return cluster(n).SetSetting(ctx, &hexrv1.SetSettingRequest{Name: name, Value: value})
	})
	return resp.GetSettings(), err
}

// KeysStatus shows every key of the keyring, never the key.
func (c *Client) KeysStatus(ctx context.Context) ([]*hexrv1.Key, error) {
	resp, err := call(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (*hexrv1.KeysStatusResponse, error) {
		return cluster(n).KeysStatus(ctx, &hexrv1.KeysStatusRequest{})
	})
	return resp.GetKeys(), err
}

// RotateKeys begins a rotation of "value" keys, "storage" keys or "both", and
// returns the new keys. The rest happens by itself; see KeysStatus.
func (c *Client) RotateKeys(ctx context.Context, kind string) ([]*hexrv1.Key, error) {
	resp, err := mutate(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface, id []byte) (*hexrv1.RotateKeysResponse, error) {
		return cluster(n).RotateKeys(ctx, &hexrv1.RotateKeysRequest{Kind: kind, RequestId: id})
	})
	return resp.GetKeys(), err
}

// Block refuses a SPIFFE ID, agent/TENANT/AGENT or agent/TENANT from now on.
func (c *Client) Block(ctx context.Context, subject string) error {
	_, err := change(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (*hexrv1.BlockResponse, error) {
		return cluster(n).Block(ctx, &hexrv1.BlockRequest{Subject: subject})
	})
	return err
}

// Unblock takes a block back.
func (c *Client) Unblock(ctx context.Context, subject string) error {
	_, err := change(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (*hexrv1.UnblockResponse, error) {
		return cluster(n).Unblock(ctx, &hexrv1.UnblockRequest{Subject: subject})
	})
	return err
}

// Blocks lists who is blocked.
func (c *Client) Blocks(ctx context.Context) ([]string, error) {
	resp, err := call(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (*hexrv1.ListBlocksResponse, error) {
		return cluster(n).ListBlocks(ctx, &hexrv1.ListBlocksRequest{})
	})
	return resp.GetSubjects(), err
}
