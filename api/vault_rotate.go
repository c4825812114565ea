package api

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/seal"
)

const (
	defaultLease = 30 * time.Second
	defaultGrace = 24 * time.Hour
)

// target is the record that a step of a rotation is about.
type target struct {
	path  fsm.Path
	scope fsm.Scope
}

func rotationTarget(c *call, path, scope string) (t target, err error) {
	if t.path, err = parsePath(path); err != nil {
		return t, err
	}
	t.scope, err = fullScope(c, scope)
	return t, err
}

// rotate decides a step; parts are what the request id stands for, beside the
// record.
func (s *Server) rotate(ctx context.Context, op string, t target, a *fsmpb.Access, parts ...string) (*fsmpb.Result, error) {
	a.RequestDigest = s.requestDigest(op, append([]string{string(t.path), t.scope.String()}, parts...)...)
	r, _, err := s.decide(ctx, s.access(callOf(ctx), a))
	if r.GetOutcome() == fsmpb.Outcome_OUTCOME_CONFLICT {
		switch {
		case r.GetRotation() == nil:
			return nil, errLost
		case r.GetRotation().GetHeld():
			return nil, errUnderWay
		}
	}
	return r, err
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }

func orElse(d *durationpb.Duration, without time.Duration) time.Duration {
	if d == nil {
		return without
	}
	return d.AsDuration()
}

func (s *Server) rotateBegin(ctx context.Context, req *hexrv1.RotateBeginRequest) (*hexrv1.RotateBeginResponse, error) {
	t, err := rotationTarget(callOf(ctx), req.GetPath(), req.GetScope())
	if err != nil {
		return nil, err
	}
	ttl := orElse(req.GetTtl(), defaultLease)
	r, err := s.rotate(ctx, "rotate.begin", t, &fsmpb.Access{Op: &fsmpb.Access_RotateBegin{RotateBegin: &fsmpb.RotateBegin{
		Path: string(t.path), Scope: t.scope.String(), Ttl: int64(ttl), Generation: req.GetGeneration(),
	}}}, ttl.String(), number(req.GetGeneration()))
	if err != nil {
		return nil, err
	}
	st := r.GetRotation()
	return &hexrv1.RotateBeginResponse{
		Path: st.GetPath(), Scope: st.GetScope(), Generation: st.GetGeneration(), Current: st.GetCurrent(), Pending: st.GetPending(),
		LeaseUntil: stamp(st.GetLeaseUntil()), Resumed: st.GetResumed(), Replayed: replayed(r),
	}, nil
}

// rotateStage seals the value here, as put does.
func (s *Server) rotateStage(ctx context.Context, req *hexrv1.RotateStageRequest) (*hexrv1.RotateStageResponse, error) {
	value := seal.NewPlaintext(req.GetValue())
	defer value.Wipe()
	t, err := rotationTarget(callOf(ctx), req.GetPath(), req.GetScope())
	if err != nil {
		return nil, err
	}
	if err := s.checkSize(value, req.GetMetadata()); err != nil {
		return nil, err
	}
	if err := callOf(ctx).pass.widen(1+proto.Size(req)/unitBytes, s.backend.Store().Settings()); err != nil {
		return nil, err
	}
	sealed, err := s.sealValue(callOf(ctx), t, value)
	if err != nil {
		return nil, err
	}
	parts := append([]string{number(req.GetGeneration()), string(value.Reveal())}, flatten(req.GetMetadata())...)
	r, err := s.rotate(ctx, "rotate.stage", t, &fsmpb.Access{Op: &fsmpb.Access_RotateStage{RotateStage: &fsmpb.RotateStage{
		Path: string(t.path), Scope: t.scope.String(), Generation: req.GetGeneration(), Sealed: sealed, Size: uint64(value.Len()),
		Labels: req.GetMetadata(),
	}}}, parts...)
	if err != nil {
		return nil, err
	}
	st := r.GetRotation()
	return &hexrv1.RotateStageResponse{
		Path: st.GetPath(), Scope: st.GetScope(), Generation: st.GetGeneration(), Current: st.GetCurrent(), Pending: st.GetPending(),
		Replayed: replayed(r),
	}, nil
}

func (s *Server) rotateCommit(ctx context.Context, req *hexrv1.RotateCommitRequest) (*hexrv1.RotateCommitResponse, error) {
	t, err := rotationTarget(callOf(ctx), req.GetPath(), req.GetScope())
	if err != nil {
		return nil, err
	}
	grace := orElse(req.GetGrace(), defaultGrace)
	r, err := s.rotate(ctx, "rotate.commit", t, &fsmpb.Access{Op: &fsmpb.Access_RotateCommit{RotateCommit: &fsmpb.RotateCommit{
		Path: string(t.path), Scope: t.scope.String(), Generation: req.GetGeneration(), Version: req.GetVersion(), Grace: int64(grace),
	}}}, number(req.GetGeneration()), number(req.GetVersion()), grace.String())
	if err != nil {
		return nil, err
	}
	st := r.GetRotation()
	return &hexrv1.RotateCommitResponse{
		Path: st.GetPath(), Scope: st.GetScope(), Version: st.GetCurrent(), Previous: st.GetPrevious(),
		PreviousUntil: stamp(st.GetPreviousUntil()), Replayed: replayed(r),
	}, nil
}

func (s *Server) rotateAbort(ctx context.Context, req *hexrv1.RotateAbortRequest) (*hexrv1.RotateAbortResponse, error) {
	t, err := rotationTarget(callOf(ctx), req.GetPath(), req.GetScope())
	if err != nil {
		return nil, err
	}
	r, err := s.rotate(ctx, "rotate.abort", t, &fsmpb.Access{Op: &fsmpb.Access_RotateAbort{RotateAbort: &fsmpb.RotateAbort{
		Path: string(t.path), Scope: t.scope.String(), Generation: req.GetGeneration(),
	}}}, number(req.GetGeneration()))
	if err != nil {
		return nil, err
	}
	st := r.GetRotation()
	return &hexrv1.RotateAbortResponse{Path: st.GetPath(), Scope: st.GetScope(), Current: st.GetCurrent(), Replayed: replayed(r)}, nil
}

func (s *Server) setRotation(ctx context.Context, req *hexrv1.SetRotationRequest) (*hexrv1.SetRotationResponse, error) {
	t, err := rotationTarget(callOf(ctx), req.GetPath(), req.GetScope())
	if err != nil {
		return nil, err
	}
	every, err := schedule(orZero(req.GetRotation()))
	if err != nil {
		return nil, err
	}
	r, err := s.rotate(ctx, "rotate.schedule", t, &fsmpb.Access{Op: &fsmpb.Access_RotateSchedule{RotateSchedule: &fsmpb.RotateSchedule{
		Path: string(t.path), Scope: t.scope.String(), Period: *every,
	}}}, strconv.FormatInt(*every, 10))
	if err != nil {
		return nil, err
	}
	st := r.GetRotation()
	return &hexrv1.SetRotationResponse{
		Path: st.GetPath(), Scope: st.GetScope(), Rotation: period(st.GetPeriod()), RotationDueAt: stamp(st.GetDueAt()), Replayed: replayed(r),
	}, nil
}

func orZero(d *durationpb.Duration) *durationpb.Duration {
	if d == nil {
		return &durationpb.Duration{}
	}
	return d
}

// schedule reads a time between rotations; nil: it is not given.
func schedule(d *durationpb.Duration) (*int64, error) {
	if d == nil {
		return nil, nil
	}
	ns := int64(d.AsDuration())
	if !fsm.ValidPeriod(ns) {
		return nil, invalid("rotation: use a time from 1s to 3650d, or 0s for no schedule")
	}
	return &ns, nil
}
