package client

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// mutate is a change whose tries have one request id, under which it is applied once.
func mutate[R any](
	ctx context.Context, c *Client, do func(ctx context.Context, n grpc.ClientConnInterface, id []byte) (R, error),
) (R, error) {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		var none R
		return none, err
	}
	return change(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (R, error) { return do(ctx, n, id) })
}

// change is a call that changes something: what its error says of that holds for all tries.
func change[R any](ctx context.Context, c *Client, do func(context.Context, grpc.ClientConnInterface) (R, error)) (R, error) {
	open := false
	resp, err := call(ctx, c, func(ctx context.Context, n grpc.ClientConnInterface) (R, error) {
		resp, err := do(ctx, n)
		open = open || leavesOpen(err)
		return resp, err
	})
	if open {
		err = unlessDecided(err)
	}
	return resp, err
}

// certain are the reasons of an unavailable node that says: nothing was applied.
var certain = []string{"NO_LEADER", "OVERLOADED", "STOPPING", "STALE"}

// refusals are the codes of those that may not hold for another try; lasting are the
// reasons of those that were decided, or are the same for each.
var (
	refusals = []codes.Code{codes.Unavailable, codes.ResourceExhausted, codes.PermissionDenied, codes.Unauthenticated}
	lasting  = []string{"DENIED", "WRONG_CLASS", "QUOTA", "TOO_MANY_KEYS"}
)

// leavesOpen: what a try that ended so asked for may be applied, or may be yet.
func leavesOpen(err error) bool {
	if err == nil || errors.Is(err, errUnreached) {
		return false
	}
	var e *Error
	if !errors.As(fromStatus(err), &e) {
		return true
	}
	switch e.Code {
	case codes.Unavailable:
		return !slices.Contains(certain, e.Reason)
	case codes.DeadlineExceeded, codes.Canceled:
		return true
	}
	return false
}

// unlessDecided is how a call ends whose tries before left it open. A refusal that was
// not decided, in the log, and would not be the same for each try, says that the last one
// was not applied, and nothing of those.
func unlessDecided(err error) error {
	var e *Error
	if !errors.As(err, &e) || leavesOpen(err) || !slices.Contains(refusals, e.Code) || slices.Contains(lasting, e.Reason) {
		return err
	}
	return &Error{
		Code: codes.Unavailable, Reason: reasonUnknown, RequestID: e.RequestID,
		Message: "a try before may or may not have been applied; the last one was not: " + e.Error(),
	}
}
