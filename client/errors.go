package client

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

// What callers branch on, with errors.Is.
var (
	ErrNotFound        = errors.New("not found")
	ErrDenied          = errors.New("denied")
	ErrConflict        = errors.New("conflict")
	ErrInvalid         = errors.New("invalid request")
	ErrUnauthenticated = errors.New("not authenticated")
	ErrThrottled       = errors.New("throttled")
	ErrUnavailable     = errors.New("unavailable")
)

// Error is an answer of a node that is no result. Of a change that ended with
// ErrUnavailable or context.DeadlineExceeded it is not known whether it was or will be
// applied, unless Reason says more; of one with another error it is not.
type Error struct {
	Code      codes.Code
	Reason    string // stable, e.g. VERSION_CONFLICT
	Message   string // says what to do next
	RequestID string // hexadecimal, as in the audit
}

func (e *Error) Error() string {
	if e.Reason == "" {
		return e.Message
	}
	return fmt.Sprintf("%s (%s)", e.Message, e.Reason)
}

// Unwrap gives the sentinel of the error's kind.
func (e *Error) Unwrap() error {
	switch e.Code {
	case codes.NotFound:
		return ErrNotFound
	case codes.PermissionDenied:
		return ErrDenied
	case codes.FailedPrecondition:
		return ErrConflict
	case codes.InvalidArgument:
		return ErrInvalid
	case codes.Unauthenticated:
		return ErrUnauthenticated
	case codes.ResourceExhausted:
		return ErrThrottled
	case codes.Unavailable:
		return ErrUnavailable
	case codes.DeadlineExceeded:
		return context.DeadlineExceeded
	case codes.Canceled:
		return context.Canceled
	}
	return nil
}

// fromData is a failure as batches and sessions have it.
func fromData(e *hexrv1.Error) *Error {
	return &Error{Code: codeOf(e.GetCode()), Reason: e.GetReason(), Message: e.GetMessage(), RequestID: e.GetRequestId()}
}

func fromStatus(err error) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	e := &Error{Code: st.Code(), Message: st.Message()}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == "hexr" {
			e.Reason, e.RequestID = info.GetReason(), info.GetMetadata()["request_id"]
		}
	}
	if e.Reason == "" && e.Code == codes.Unavailable {
		e.Message = "no node answers: are the addresses right, and do the nodes run?" // grpc's text may quote an identity
	}
	return e
}

// retriable: another try, at another node, may go better, and does no harm.
func retriable(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return true
	}
	return e.Reason == "SVID_EXPIRED" // the next connection has the renewed one
}

// reasonUnknown: it may have been applied, or may be yet.
const reasonUnknown = "OUTCOME_UNKNOWN"

// unknown: the node answers, but not whether the call took effect.
func unknown(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Reason == reasonUnknown
}
