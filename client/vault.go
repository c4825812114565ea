package client

import (
	"context"
	"errors"
	"iter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

// PutOptions say more about a put. The zero value writes to the agent's scope.
type PutOptions struct {
	Scope    string            // a process's name or a full scope
	Expected *uint64           // the version that must be the latest; 0: there is no live one
	Metadata map[string]string // labels, not secret
	Rotation *time.Duration    // between rotations; 0: no schedule; nil: as it was
}

// At pins where a secret is looked for.
type At struct {
	Scope   string // empty: the process's, the agent's, the tenant's, in this order
	Version uint64 // 0: the latest
}

func at(opts []At) At {
	if len(opts) == 0 {
		return At{}
	}
	return opts[0]
}

// Put writes the next version of a secret.
func (c *Client) Put(ctx context.Context, path string, value []byte, o PutOptions) (*hexrv1.PutResponse, error) {
	req := &hexrv1.PutRequest{
		Path: path, Value: value, Scope: o.Scope, ExpectedVersion: o.Expected, Metadata: o.Metadata,
	}
	if o.Rotation != nil {
		req.Rotation = durationpb.New(*o.Rotation)
	}
	return mutate(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface, id []byte) (*hexrv1.PutResponse, error) {
		req.RequestId = id
		return vault(n).Put(ctx, req)
	})
}

// Get reads a secret.
func (c *Client) Get(ctx context.Context, path string, opts ...At) (Secret, error) {
	req := &hexrv1.GetRequest{Path: path, Scope: at(opts).Scope, Version: at(opts).Version}
	resp, err := call(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (*hexrv1.GetResponse, error) {
		return vault(n).Get(ctx, req)
	})
	if err != nil {
		return Secret{}, err
	}
	return toSecret(resp), nil
}

func toSecret(r *hexrv1.GetResponse) Secret {
	return Secret{
		Path: r.GetPath(), Value: NewValue(r.GetValue()), Version: r.GetVersion(), Scope: r.GetScope(),
		Metadata: r.GetMetadata(), CreatedAt: r.GetCreatedAt().AsTime(),
	}
}

// Exists reports whether a get of the path would be answered. It reads metadata
// alone, and has its own audit row.
func (c *Client) Exists(ctx context.Context, path string, opts ...At) (bool, error) {
	info, err := c.Describe(ctx, path, at(opts).Scope)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil && info.GetDeletedAt() == nil, err
}

// Describe reads a secret's metadata.
func (c *Client) Describe(ctx context.Context, path, scope string) (*hexrv1.SecretInfo, error) {
	resp, err := call(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (*hexrv1.DescribeResponse, error) {
		return vault(n).Describe(ctx, &hexrv1.DescribeRequest{Path: path, Scope: scope})
	})
	return resp.GetSecret(), err
}

// Versions lists the versions that are kept.
func (c *Client) Versions(ctx context.Context, path, scope string) (*hexrv1.VersionsResponse, error) {
	return call(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (*hexrv1.VersionsResponse, error) {
		return vault(n).Versions(ctx, &hexrv1.VersionsRequest{Path: path, Scope: scope})
	})
}

// BatchGet reads many secrets in one round trip: a secret or an error for each
// path, in their order. The error is of the call as a whole.
func (c *Client) BatchGet(ctx context.Context, paths []string, scope string) ([]Result, error) {
	resp, err := call(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (*hexrv1.BatchGetResponse, error) {
		return vault(n).BatchGet(ctx, &hexrv1.BatchGetRequest{Paths: paths, Scope: scope})
	})
	if err != nil {
		return nil, err
	}
	results := make([]Result, 0, len(resp.GetResults()))
	for _, r := range resp.GetResults() {
		out := Result{Path: r.GetPath()}
		if e := r.GetError(); e != nil {
			out.Err = fromData(e)
		} else {
			out.Secret = toSecret(r.GetSecret())
		}
		results = append(results, out)
	}
	return results, nil
}

// Result is one path's of a batch.
type Result struct {
	Path   string
	Secret Secret
	Err    error
}

// ListOptions select what List shows.
type ListOptions struct {
	Prefix, Scope  string
	PageSize       uint32
	IncludeDeleted bool
	Overdue        bool // only those whose rotation is overdue
}

// List iterates over metadata, page by page. It ends with an error where one
// occurs.
func (c *Client) List(ctx context.Context, o ListOptions) iter.Seq2[*hexrv1.SecretInfo, error] {
	return func(yield func(*hexrv1.SecretInfo, error) bool) {
		req := &hexrv1.ListRequest{
			Prefix: o.Prefix, Scope: o.Scope, PageSize: o.PageSize, IncludeDeleted: o.IncludeDeleted, Overdue: o.Overdue,
		}
		for {
			resp, err := call(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (*hexrv1.ListResponse, error) {
				return vault(n).List(ctx, req)
			})
			if err != nil {
				yield(nil, err)
				return
			}
			for _, s := range resp.GetSecrets() {
				if !yield(s, nil) {
					return
				}
			}
			if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
				return
			}
		}
	}
}

// Delete hides a secret; it can be undeleted for a while.
func (c *Client) Delete(ctx context.Context, path, scope string) (*hexrv1.DeleteResponse, error) {
	return mutate(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface, id []byte) (*hexrv1.DeleteResponse, error) {
		return vault(n).Delete(ctx, &hexrv1.DeleteRequest{Path: path, Scope: scope, RequestId: id})
	})
}

// Undelete takes a delete back.
func (c *Client) Undelete(ctx context.Context, path, scope string) (*hexrv1.UndeleteResponse, error) {
	return mutate(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface, id []byte) (*hexrv1.UndeleteResponse, error) {
		return vault(n).Undelete(ctx, &hexrv1.UndeleteRequest{Path: path, Scope: scope, RequestId: id})
	})
}

// Destroy makes a version, or with 0 all of them, unreadable for good.
func (c *Client) Destroy(ctx context.Context, path, scope string, version uint64) (*hexrv1.DestroyResponse, error) {
	return mutate(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface, id []byte) (*hexrv1.DestroyResponse, error) {
		return vault(n).Destroy(ctx, &hexrv1.DestroyRequest{Path: path, Scope: scope, Version: version, RequestId: id})
	})
}

// WhoAmI says who the node that answers takes this process for.
func (c *Client) WhoAmI(ctx context.Context) (*hexrv1.WhoAmIResponse, error) {
	return call(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (*hexrv1.WhoAmIResponse, error) {
		return vault(n).WhoAmI(ctx, &hexrv1.WhoAmIRequest{})
	})
}
