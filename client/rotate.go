package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

const (
	defaultLease = 30 * time.Second
	cleanTimeout = 5 * time.Second
)

// Errors of a rotation, beside those of any call.
var (
	// ErrRotating: another rotator is at work on the secret.
	ErrRotating = errors.New("another rotator is at work on this secret")
	// ErrVerify: the new version was tested, is no good, and was discarded.
	ErrVerify = errors.New("the new version did not pass its test")
)

// RotateOptions say how a secret is rotated. Generate is required.
type RotateOptions struct {
	Scope string
	// Generate makes the new value. It is called once the lease is held, so that no
	// two rotators make one; not at all where a rotator that went away had made one
	// that passes Verify.
	Generate Generator
	// Verify tests the new version before anybody else reads it; nil: it is good.
	Verify func(context.Context, Secret) error
	// Grace is how long the previous version stays readable by its number; nil: 24 h.
	Grace *time.Duration
	// OnRotate is called after the new version became current. Its error is returned,
	// and takes nothing back.
	OnRotate func(context.Context, Rotated) error
	Metadata map[string]string // of the new version; none: as before
	// Lease is how long others wait for a rotator that went away; 0: 30 s. It is kept
	// for as long as Rotate runs.
	Lease time.Duration
}

// Rotated is what a rotation has done.
type Rotated struct {
	Path, Scope   string
	Version       uint64 // current now
	Previous      uint64 // 0: there is none to read any more
	PreviousUntil time.Time
	Resumed       bool // the version of a rotator that went away
}

// Rotate makes a new version, tests it, and makes it current. It may be called by
// any number of processes at any time: one works, the others get ErrRotating.
// Whatever happens to this one on the way, readers have a current version, and the
// next Rotate finishes or discards what is pending. ErrConflict: somebody put in
// between; that stays.
func (c *Client) Rotate(ctx context.Context, path string, o RotateOptions) (Rotated, error) {
	if o.Generate == nil {
		return Rotated{}, fmt.Errorf("%w: rotate needs something that generates the value", ErrInvalid)
	}
	if o.Lease == 0 {
		o.Lease = defaultLease
	}
	r := &rotation{client: c, path: path, o: o}
	if err := r.begin(ctx); err != nil {
		return Rotated{}, err
	}
	done, err := r.run(ctx)
	if err != nil {
		r.abort(ctx)
		return Rotated{}, err
	}
	if o.OnRotate != nil {
		if err := o.OnRotate(ctx, done); err != nil {
			return done, fmt.Errorf("rotated, but: %w", err)
		}
	}
	return done, nil
}

// rotation is one that this client has the lease of.
type rotation struct {
	client     *Client
	path       string
	o          RotateOptions
	generation uint64
	pending    uint64 // of the rotator before, at first
	resumed    bool
}

// step makes one call under a request id of its own.
func step[R any](ctx context.Context, r *rotation, do func(ctx context.Context, v hexrv1.VaultClient, id []byte) (R, error)) (R, error) {
	resp, err := mutate(ctx, r.client, func(ctx context.Context, n grpc.ClientConnInterface, id []byte) (R, error) {
		return do(ctx, vault(n), id)
	})
	var e *Error
	if errors.As(err, &e) && (e.Reason == "ROTATION_UNDER_WAY" || e.Reason == "ROTATION_LOST") {
		err = fmt.Errorf("%w: %w", ErrRotating, err)
	}
	return resp, err
}

func (r *rotation) begin(ctx context.Context) error {
	resp, err := r.lease(ctx, 0)
	if err == nil {
		r.generation, r.pending, r.resumed = resp.GetGeneration(), resp.GetPending(), resp.GetResumed()
		r.o.Scope = resp.GetScope() // from here on the same for reads and writes
	}
	return err
}

func (r *rotation) lease(ctx context.Context, generation uint64) (*hexrv1.RotateBeginResponse, error) {
	return step(ctx, r, func(ctx context.Context, v hexrv1.VaultClient, id []byte) (*hexrv1.RotateBeginResponse, error) {
		return v.RotateBegin(ctx, &hexrv1.RotateBeginRequest{
			Path: r.path, Scope: r.o.Scope, RequestId: id, Ttl: durationpb.New(r.o.Lease), Generation: generation,
		})
	})
}

// keep keeps the lease until ctx ends, or ends the rotation when it is lost.
func (r *rotation) keep(ctx context.Context, lost context.CancelCauseFunc) {
	tick := time.NewTicker(r.o.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if _, err := r.lease(ctx, r.generation); err != nil && !retriable(err) && ctx.Err() == nil {
				lost(err)
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// run brings a version to pending, tests it and commits it, while the lease is
// kept.
func (r *rotation) run(ctx context.Context) (Rotated, error) {
	ctx, lost := context.WithCancelCause(ctx)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		r.keep(ctx, lost)
	}()
	defer func() {
		lost(nil)
		<-kept
	}()
	done, err := r.finish(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return done, cause
	}
	return done, err
}

func (r *rotation) finish(ctx context.Context) (Rotated, error) {
	if r.resumed {
		if done, err := r.resume(ctx); err == nil || ctx.Err() != nil {
			return done, err
		}
	}
	r.resumed = false
	value, err := r.o.Generate(ctx)
	if err != nil {
		return Rotated{}, fmt.Errorf("generate: %w", err)
	}
	resp, err := step(ctx, r, func(ctx context.Context, v hexrv1.VaultClient, id []byte) (*hexrv1.RotateStageResponse, error) {
		return v.RotateStage(ctx, &hexrv1.RotateStageRequest{
			Path: r.path, Scope: r.o.Scope, RequestId: id, Generation: r.generation, Value: value, Metadata: r.o.Metadata,
		})
	})
	if err != nil {
		return Rotated{}, err
	}
	r.pending = resp.GetPending()
	s := Secret{Path: resp.GetPath(), Value: NewValue(value), Version: r.pending, Scope: resp.GetScope(), Metadata: r.o.Metadata}
	if err := r.verify(ctx, s); err != nil {
		return Rotated{}, err
	}
	return r.commit(ctx)
}

// resume finishes what the rotator before left; an error says that a new version
// is needed.
func (r *rotation) resume(ctx context.Context) (Rotated, error) {
	s, err := r.client.Get(ctx, r.path, At{Scope: r.o.Scope, Version: r.pending})
	if err != nil {
		return Rotated{}, err // a provisioner reads no values
	}
	if err := r.verify(ctx, s); err != nil {
		return Rotated{}, err
	}
	return r.commit(ctx)
}

func (r *rotation) verify(ctx context.Context, s Secret) error {
	if r.o.Verify == nil {
		return nil
	}
	if err := r.o.Verify(ctx, s); err != nil {
		return fmt.Errorf("%w: %w", ErrVerify, err)
	}
	return nil
}

func (r *rotation) commit(ctx context.Context) (Rotated, error) {
	req := &hexrv1.RotateCommitRequest{Path: r.path, Scope: r.o.Scope, Generation: r.generation, Version: r.pending}
	if r.o.Grace != nil {
		req.Grace = durationpb.New(*r.o.Grace)
	}
	resp, err := step(ctx, r, func(ctx context.Context, v hexrv1.VaultClient, id []byte) (*hexrv1.RotateCommitResponse, error) {
		req.RequestId = id
		return v.RotateCommit(ctx, req)
	})
	if err != nil {
		return Rotated{}, err
	}
	done := Rotated{
		Path: resp.GetPath(), Scope: resp.GetScope(), Version: resp.GetVersion(), Previous: resp.GetPrevious(), Resumed: r.resumed,
	}
	if resp.GetPreviousUntil() != nil {
		done.PreviousUntil = resp.GetPreviousUntil().AsTime()
	}
	return done, nil
}

// abort gives the lease back, so that nobody has to wait for its end. It is tried
// also when ctx has ended; where it fails, the lease ends by itself.
func (r *rotation) abort(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
	defer cancel()
	_, _ = step(ctx, r, func(ctx context.Context, v hexrv1.VaultClient, id []byte) (*hexrv1.RotateAbortResponse, error) {
		return v.RotateAbort(ctx, &hexrv1.RotateAbortRequest{Path: r.path, Scope: r.o.Scope, RequestId: id, Generation: r.generation})
	})
}

// SetRotation says how often a secret is to be rotated; 0: not at all. A client
// rotates; hexrd says what is overdue.
func (c *Client) SetRotation(ctx context.Context, path, scope string, every time.Duration) (*hexrv1.SetRotationResponse, error) {
	return mutate(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface, id []byte) (*hexrv1.SetRotationResponse, error) {
		return vault(n).SetRotation(ctx, &hexrv1.SetRotationRequest{
			Path: path, Scope: scope, RequestId: id, Rotation: durationpb.New(every),
		})
	})
}
