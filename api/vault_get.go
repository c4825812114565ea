package api

import (
	"context"
	"crypto/subtle"
	"errors"
	"strconv"

	"google.golang.org/grpc/codes"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

func (s *Server) get(ctx context.Context, req *hexrv1.GetRequest) (*hexrv1.GetResponse, error) {
	c := callOf(ctx)
	a, err := s.getAccess(c, req.GetPath(), req.GetScope(), req.GetVersion())
	if err != nil {
		return nil, err
	}
	r, index, err := s.decide(ctx, a)
	if err != nil {
		return nil, err
	}
	c.decided = index
	resp, err := s.open(c, r.GetSecret())
	c.pass.moved(len(resp.GetValue()))
	return resp, err
}

func (s *Server) getAccess(c *call, path, scope string, version uint64) (*fsmpb.Access, error) {
	p, err := parsePath(path)
	if err != nil {
		return nil, err
	}
	pinned, err := pinnedScope(c, scope)
	if err != nil {
		return nil, err
	}
	return s.access(c, &fsmpb.Access{Op: &fsmpb.Access_Get{Get: &fsmpb.Get{Path: string(p), Scope: pinned, Version: version}}}), nil
}

// open checks once more what the log decided, and opens the value: the scope, the
// digest of the sealed bytes, the end of the SVID, a block that came since.
func (s *Server) open(c *call, secret *fsmpb.Secret) (*hexrv1.GetResponse, error) {
	scope, err := fsm.ParseScope(c.caller, secret.GetScope())
	if err != nil || !fsm.MayRead(c.caller, scope) {
		return nil, outcomeFailures[fsmpb.Outcome_OUTCOME_DENIED]
	}
	if err := s.stillAdmitted(c); err != nil {
		return nil, err
	}
	if len(secret.GetSealed()) == 0 { // the leader's reply had no room for it
		return nil, errNotSent
	}
	digest := seal.Digest(secret.GetSealed())
	if subtle.ConstantTimeCompare(digest[:], secret.GetDigest()) != 1 || len(secret.GetRequestId()) != 16 {
		s.log.Error("a granted value is not the one that the log decided on: look at the leader's disk")
		return nil, errCorrupt
	}
	keys := s.backend.Keys()
	record := fsm.RecordKey(keys, scope, fsm.Path(secret.GetPath()))
	value, err := keys.OpenValue(seal.ValueContext{
		Cluster: keys.ClusterID(), Record: record[:], RequestID: [16]byte(secret.GetRequestId()),
	}, secret.GetSealed())
	if errors.Is(err, seal.ErrNoKey) {
		s.log.Error("a granted value is sealed with a key that this node lacks: it is fetched from the others")
		return nil, errNoKey
	}
	if err != nil {
		s.log.Error("a granted value does not open: look at the leader's disk, and at this node's keyring")
		return nil, errCorrupt
	}
	return &hexrv1.GetResponse{
		Path: secret.GetPath(), Value: value.Reveal(), Version: secret.GetVersion(), Scope: secret.GetScope(),
		Metadata: secret.GetLabels(), CreatedAt: stamp(secret.GetCreatedAt()),
	}, nil
}

const maxBatchBytes = 4 << 20

var errBatchFull = fail(codes.ResourceExhausted, "BATCH_TOO_LARGE",
	"the answer has 4 MiB of values already: ask for this path in another request")

// batchGet decides all paths in one proposal, with a row and a result for each.
func (s *Server) batchGet(ctx context.Context, req *hexrv1.BatchGetRequest) (*hexrv1.BatchGetResponse, error) {
	c, settings := callOf(ctx), s.backend.Store().Settings()
	if limit := settings.GetBatchMaxPaths(); uint64(len(req.GetPaths())) > limit {
		return nil, invalid("paths: more than the cluster's limit of " + strconv.FormatUint(limit, 10) + ": ask in several requests")
	}
	if err := c.pass.widen(len(req.GetPaths()), settings); err != nil {
		return nil, err
	}
	results := make([]*hexrv1.BatchGetResult, len(req.GetPaths()))
	var accesses []*fsmpb.Access
	var at []int
	for i, path := range req.GetPaths() {
		results[i] = &hexrv1.BatchGetResult{Path: path}
		a, err := s.getAccess(c, path, req.GetScope(), 0)
		if err != nil {
			results[i].Result = s.batchError(c, err)
			continue
		}
		accesses, at = append(accesses, a), append(at, i)
	}
	if len(accesses) == 0 {
		return &hexrv1.BatchGetResponse{Results: results}, nil
	}
	decided, index, err := s.backend.Do(ctx, accesses)
	if err != nil {
		return nil, err
	}
	c.decided = index
	size := 0
	for j, r := range decided {
		out := results[at[j]]
		secret, err := (*hexrv1.GetResponse)(nil), outcomeError(r)
		if err == nil {
			if size += int(r.GetSecret().GetSize()); size > maxBatchBytes {
				err = errBatchFull
			} else {
				secret, err = s.open(c, r.GetSecret())
			}
		}
		if err != nil {
			out.Result = s.batchError(c, err)
			continue
		}
		out.Result = &hexrv1.BatchGetResult_Secret{Secret: secret}
	}
	c.pass.moved(size)
	return &hexrv1.BatchGetResponse{Results: results}, nil
}

func (s *Server) batchError(c *call, err error) *hexrv1.BatchGetResult_Error {
	return &hexrv1.BatchGetResult_Error{Error: failureOf(err).data(requestIDText(c))}
}
