package api

import (
	"context"
	"errors"
	"net/http"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// failure is an answer that is no result. Its message says what to do next, and
// holds no value, path or identity.
type failure struct {
	code    codes.Code
	reason  string
	message string
	status  int // HTTP, where it is not the code's own
}

func (f *failure) Error() string { return f.message }

func fail(code codes.Code, reason, message string) *failure {
	return &failure{code: code, reason: reason, message: message}
}

var (
	errUnauthenticated = fail(codes.Unauthenticated, "NO_IDENTITY",
		"a valid SVID of the cluster's trust domain is required: present one from the SPIFFE Workload API")
	errExpired       = fail(codes.Unauthenticated, "SVID_EXPIRED", "the SVID has expired: come again with a renewed one")
	errClass         = fail(codes.PermissionDenied, "WRONG_CLASS", "this kind of identity may not call this method")
	errMethod        = fail(codes.Unimplemented, "UNKNOWN_METHOD", "this node does not know the method")
	errRate          = fail(codes.ResourceExhausted, "RATE_LIMITED", "too many requests of this identity: wait, then try again")
	errFlight        = fail(codes.ResourceExhausted, "TOO_MANY_IN_FLIGHT", "too many requests of this identity are under way: wait for some")
	errStreams       = fail(codes.ResourceExhausted, "TOO_MANY_STREAMS", "this identity has too many streams open: close some")
	errCarried       = invalid("a session carries messages of up to 32 KiB: send a larger call over gRPC or HTTP")
	errNoCall        = invalid("what came on the session is no hexr.v1.Call behind its length")
	errCallID        = invalid("id: it is 0, or a call of this id is under way in the session")
	errPanic         = fail(codes.Internal, "INTERNAL", "the node failed to answer; its log has more")
	errCorrupt       = fail(codes.Internal, "CORRUPT", "what is stored does not open; an operator must look at the node's log")
	errNotSent       = fail(codes.Unavailable, "VALUE_NOT_SENT", "too many large values were read at once, and this one was left out: try again")
	errConfiguration = fail(codes.Unavailable, "CONFIGURATION_NOT_CHANGED",
		"it is decided and logged, but raft's configuration was not changed in time: try again")
	errNoMajority = fail(codes.Unavailable, "NO_MAJORITY",
		"fewer than half of the members signed: see `hexrd members` for who does not answer or lags, then try again")
	errNoKey = fail(codes.Unavailable, "KEY_MISSING",
		"this node lacks a key of the keyring and is getting it from the others: try another node")
	errRotating = fail(codes.FailedPrecondition, "ROTATION_PENDING",
		"a rotation of this kind is under way: `hexrd keys status` shows which members it waits for")
	errKeys = fail(codes.ResourceExhausted, "TOO_MANY_KEYS", "the cluster has had as many keys as it can keep")
	errSlow = fail(codes.ResourceExhausted, "SLOW_CONSUMER",
		"the stream was ended, since nobody took its events: go on behind the last one that you saw")
	errUnderWay = fail(codes.FailedPrecondition, "ROTATION_UNDER_WAY",
		"another rotator is at work on this secret: wait for its new version, or for its lease to end")
	errLost = fail(codes.FailedPrecondition, "ROTATION_LOST",
		"this rotation is over, or another rotator took it over: begin again")
	errBlocked = fail(codes.PermissionDenied, "BLOCKED", "an operator has blocked this identity")
)

func invalid(message string) *failure {
	return fail(codes.InvalidArgument, "INVALID_ARGUMENT", message)
}

// outcomeFailures is what each outcome but granted and replayed answers.
var outcomeFailures = map[fsmpb.Outcome]*failure{
	fsmpb.Outcome_OUTCOME_DENIED: fail(codes.PermissionDenied, "DENIED",
		"this identity may not do that there: check the scope"),
	fsmpb.Outcome_OUTCOME_NOT_FOUND: fail(codes.NotFound, "NOT_FOUND",
		"nothing that this identity can see has that name: check path, scope and version"),
	fsmpb.Outcome_OUTCOME_CONFLICT: fail(codes.FailedPrecondition, "VERSION_CONFLICT",
		"the present state is not the expected one: read it again, then decide"),
	fsmpb.Outcome_OUTCOME_SHADOWED: fail(codes.FailedPrecondition, "SHADOWED",
		"a secret of the same path in the process's own scope would hide this one: name that scope, or destroy that secret"),
	fsmpb.Outcome_OUTCOME_EXPIRED: errExpired,
	fsmpb.Outcome_OUTCOME_BLOCKED: errBlocked,
	fsmpb.Outcome_OUTCOME_QUOTA: fail(codes.ResourceExhausted, "QUOTA",
		"the agent's or the tenant's quota is used up: destroy what is not needed, or ask an operator"),
	fsmpb.Outcome_OUTCOME_MISMATCH: fail(codes.InvalidArgument, "REQUEST_ID_REUSED",
		"this request id was used for another request: make a new one for each"),
	fsmpb.Outcome_OUTCOME_GONE: {code: codes.FailedPrecondition, reason: "DESTROYED", status: http.StatusConflict,
		message: "it was destroyed and can't come back: put it again"},
	fsmpb.Outcome_OUTCOME_STALE: fail(codes.Unavailable, "STALE",
		"the request was held up for too long and was not applied: try again"),
	fsmpb.Outcome_OUTCOME_NO_SPACE: {code: codes.ResourceExhausted, reason: "DISK_LOW", status: http.StatusInsufficientStorage,
		message: "the disks of the cluster are nearly full, nothing was applied: destroy what is not needed, and tell an operator"},
	fsmpb.Outcome_OUTCOME_INVALID: invalid("the cluster refused the request: check sizes, and name a scope where the identity is no agent"),
}

// failureOf turns any error into an answer. What it does not know is internal,
// and its text stays here.
func failureOf(err error) *failure {
	var f *failure
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, ErrUnknownOutcome):
		return fail(codes.Unavailable, "OUTCOME_UNKNOWN",
			"the request may or may not have been applied: try again with the same request id")
	case errors.Is(err, ErrNoMajority):
		return errNoMajority
	case errors.Is(err, ErrNoLeader):
		return fail(codes.Unavailable, "NO_LEADER", "no quorum answers, nothing was applied: try again, or another node")
	case errors.Is(err, ErrOverloaded):
		return fail(codes.Unavailable, "OVERLOADED", "too much is waiting, nothing was applied: try again")
	case errors.Is(err, ErrStopped):
		return fail(codes.Unavailable, "STOPPING", "the node is stopping, nothing was applied: try another node")
	case errors.Is(err, context.DeadlineExceeded):
		return fail(codes.DeadlineExceeded, "DEADLINE", "the time was over before there was an answer: try again with the same request id")
	case errors.Is(err, context.Canceled):
		return fail(codes.Canceled, "CANCELED", "the caller gave up")
	}
	return errPanic
}

// grpcError is the failure as a gRPC status with google.rpc.ErrorInfo.
func (f *failure) grpcError(requestID string) error {
	st := status.New(f.code, f.message)
	info := &errdetails.ErrorInfo{Reason: f.reason, Domain: "hexr"}
	if requestID != "" {
		info.Metadata = map[string]string{"request_id": requestID}
	}
	if with, err := st.WithDetails(info); err == nil {
		st = with
	}
	return st.Err()
}

// data is the failure as a message, in batches and over HTTP.
func (f *failure) data(requestID string) *hexrv1.Error {
	return &hexrv1.Error{Code: codeName(f.code), Reason: f.reason, Message: f.message, RequestId: requestID}
}

func codeName(c codes.Code) string {
	names := map[codes.Code]string{
		codes.InvalidArgument: "INVALID_ARGUMENT", codes.Unauthenticated: "UNAUTHENTICATED",
		codes.PermissionDenied: "PERMISSION_DENIED", codes.NotFound: "NOT_FOUND",
		codes.FailedPrecondition: "FAILED_PRECONDITION", codes.ResourceExhausted: "RESOURCE_EXHAUSTED",
		codes.Internal: "INTERNAL", codes.Unavailable: "UNAVAILABLE", codes.DeadlineExceeded: "DEADLINE_EXCEEDED",
		codes.Canceled: "CANCELED", codes.Unimplemented: "UNIMPLEMENTED",
	}
	return names[c]
}

// httpStatus is the failure's status code.
func (f *failure) httpStatus() int {
	if f.status != 0 {
		return f.status
	}
	switch f.code {
	case codes.InvalidArgument:
		return http.StatusBadRequest
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.NotFound, codes.Unimplemented:
		return http.StatusNotFound
	case codes.FailedPrecondition:
		return http.StatusPreconditionFailed
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	case codes.Canceled:
		return 499 // the client closed the request; nobody reads it
	}
	return http.StatusInternalServerError
}
