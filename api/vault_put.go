package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

// put seals the value here: beyond this node it is bytes.
func (s *Server) put(ctx context.Context, req *hexrv1.PutRequest) (*hexrv1.PutResponse, error) {
	c := callOf(ctx)
	value := seal.NewPlaintext(req.GetValue())
	defer value.Wipe()
	path, err := parsePath(req.GetPath())
	if err != nil {
		return nil, err
	}
	scope, err := fullScope(c, req.GetScope())
	if err != nil {
		return nil, err
	}
	if err := s.checkSize(value, req.GetMetadata()); err != nil {
		return nil, err
	}
	if err := c.pass.widen(1+proto.Size(req)/unitBytes, s.backend.Store().Settings()); err != nil {
		return nil, err
	}
	sealed, err := s.sealValue(c, target{path, scope}, value)
	if err != nil {
		return nil, err
	}
	expected := "any"
	if req.ExpectedVersion != nil {
		expected = strconv.FormatUint(req.GetExpectedVersion(), 10)
	}
	parts := append([]string{string(path), scope.String(), string(value.Reveal()), expected}, flatten(req.GetMetadata())...)
	rotation, err := schedule(req.GetRotation())
	if err != nil {
		return nil, err
	}
	if rotation != nil {
		parts = append(parts, "rotation", strconv.FormatInt(*rotation, 10))
	}
	r, _, err := s.decide(ctx, s.access(c, &fsmpb.Access{
		RequestDigest: s.requestDigest("put", parts...),
		Op: &fsmpb.Access_Put{Put: &fsmpb.Put{
			Path: string(path), Scope: scope.String(), Sealed: sealed, Size: uint64(value.Len()),
			ExpectedVersion: req.ExpectedVersion, Labels: req.GetMetadata(), Rotation: rotation,
		}},
	}))
	if err != nil {
		return nil, err
	}
	w := r.GetWritten()
	return &hexrv1.PutResponse{
		Path: w.GetPath(), Version: w.GetVersion(), Scope: w.GetScope(), Replayed: replayed(r), CreatedAt: stamp(w.GetTime()),
	}, nil
}

// sealValue binds the value to its record, and to the request that brings it.
func (s *Server) sealValue(c *call, t target, value seal.Plaintext) ([]byte, error) {
	keys := s.backend.Keys()
	record := fsm.RecordKey(keys, t.scope, t.path)
	return keys.SealValue(seal.ValueContext{Cluster: keys.ClusterID(), Record: record[:], RequestID: c.requestID}, value)
}

// checkSize says which limit is passed; the log decides by the same.
func (s *Server) checkSize(value seal.Plaintext, labels map[string]string) error {
	settings := s.backend.Store().Settings()
	if limit := settings.GetValueMaxBytes(); uint64(value.Len()) > limit {
		return &failure{
			code: codes.InvalidArgument, reason: "VALUE_TOO_LARGE", status: http.StatusRequestEntityTooLarge,
			message: "the value is larger than the cluster's limit of " + strconv.FormatUint(limit, 10) +
				" bytes: split it, or ask an operator to `hexrd settings set value_max_bytes`",
		}
	}
	if limit := settings.GetLabelsMax(); uint64(len(labels)) > limit {
		return invalid("metadata: more than the cluster's limit of " + strconv.FormatUint(limit, 10) + " labels: leave some out")
	}
	return nil
}

// stamp is a time of the FSM; 0 is unset.
func stamp(ns int64) *timestamppb.Timestamp {
	if ns == 0 {
		return nil
	}
	return timestamppb.New(time.Unix(0, ns))
}
